# volumedriver: the program: volumes, their management, NBD in front, proxies behind.
add_executable(volumedriver backend_proxy.c config.c driver.c driver_api.c driver_claim.c
                            driver_create.c driver_delete.c driver_notes.c driver_volume.c main.c)
target_link_libraries(volumedriver PRIVATE volumedriver_core volumedriver_nbd meta daemon policy
                                           PkgConfig::jansson)
