foreach(module nbd_proto nbd_handshake nbd_commands nbd_room nbd_server nbd_threads)
  unit_test(volumedriver ${module} volumedriver_nbd nbd_fixture volume_double)
endforeach()

unit_test(volumedriver nbd_clients testlib)
target_compile_definitions(test_volumedriver_nbd_clients PRIVATE
                           NBD_RAM_SERVER="$<TARGET_FILE:nbd_ram_server>")
add_dependencies(test_volumedriver_nbd_clients nbd_ram_server)

unit_test(volumedriver nbd_stamp testlib)
target_sources(test_volumedriver_nbd_stamp PRIVATE ${CMAKE_SOURCE_DIR}/tests/e2e/nbd_stamp_table.c)
target_compile_definitions(test_volumedriver_nbd_stamp PRIVATE
                           NBD_RAM_SERVER="$<TARGET_FILE:nbd_ram_server>"
                           NBD_STAMP="$<TARGET_FILE:nbd_stamp>")
add_dependencies(test_volumedriver_nbd_stamp nbd_ram_server nbd_stamp)
