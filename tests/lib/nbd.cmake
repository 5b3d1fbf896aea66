# A volume in memory (objects, so that it comes before volumedriver_core in any link order),
# and the NBD server over it.
add_library(volume_double OBJECT volume_double.c)
target_include_directories(volume_double PUBLIC ${CMAKE_SOURCE_DIR}/tests ${CMAKE_SOURCE_DIR})
target_link_libraries(volume_double PUBLIC base PkgConfig::uv)

add_executable(nbd_ram_server nbd_ram_server.c)
target_link_libraries(nbd_ram_server PRIVATE volumedriver_nbd volume_double)

add_library(nbd_fixture OBJECT nbd_fixture.c)
target_include_directories(nbd_fixture PUBLIC ${CMAKE_SOURCE_DIR}/tests ${CMAKE_SOURCE_DIR})
target_link_libraries(nbd_fixture PUBLIC testlib volumedriver_nbd volume_double PkgConfig::cmocka)

# Stamping writer and verifier, for tests/e2e and tools/demo.
set(stamp ${CMAKE_SOURCE_DIR}/tests/e2e/nbd_stamp)
add_executable(nbd_stamp ${stamp}.c ${stamp}_client.c ${stamp}_table.c ${stamp}_verify.c
                         ${stamp}_write.c)
target_include_directories(nbd_stamp PRIVATE ${CMAKE_SOURCE_DIR}/tests ${CMAKE_SOURCE_DIR})
target_link_libraries(nbd_stamp PRIVATE volumedriver_nbd)
