# volumedriver: the program: volumes, their management, NBD in front, proxies behind.
add_library(volumedriver_backend STATIC backend_proxy.c)
target_include_directories(volumedriver_backend PUBLIC ${PROJECT_SOURCE_DIR})
target_link_libraries(volumedriver_backend PUBLIC base wire net)
add_executable(volumedriver config.c driver.c driver_api.c driver_body.c driver_claim.c driver_close.c
                            driver_create.c driver_delete.c driver_exports.c driver_finish.c driver_full.c driver_moved.c
                            driver_notes.c driver_resize.c driver_settle.c driver_take.c driver_volume.c main.c)
target_link_libraries(volumedriver PRIVATE volumedriver_core volumedriver_nbd volumedriver_backend meta daemon policy
                                           PkgConfig::jansson)
target_include_directories(volumedriver PRIVATE ${UTHASH_INCLUDE})
