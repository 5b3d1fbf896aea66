# A whole volume of the driver, on a disk that loses power, and its backend.
add_library(vol_testlib STATIC vol_backend.c vol_call.c vol_io.c vol_load.c vol_model.c vol_node.c)
target_include_directories(vol_testlib PUBLIC ${CMAKE_SOURCE_DIR} ${CMAKE_SOURCE_DIR}/tests)
target_link_libraries(vol_testlib PUBLIC volumedriver_core testlib PkgConfig::cmocka)
