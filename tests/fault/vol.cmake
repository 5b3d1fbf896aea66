# The volume driver's part of tests/fault.
add_library(vol_testlib STATIC vol_backend.c vol_call.c vol_io.c vol_load.c vol_model.c vol_node.c)
target_include_directories(vol_testlib PUBLIC ${CMAKE_SOURCE_DIR} ${CMAKE_SOURCE_DIR}/tests)
target_link_libraries(vol_testlib PUBLIC volumedriver_core testlib PkgConfig::cmocka)

fault_test(vol_journal vol_testlib)
fault_test(vol_volume vol_testlib)
fault_test(vol_damage vol_testlib)
fault_test(vol_remap vol_testlib)

# All seeds, where the run above takes some.
add_test(NAME nightly/vol_journal COMMAND fault_vol_journal)
set_tests_properties(nightly/vol_journal PROPERTIES LABELS nightly TIMEOUT 3600 ENVIRONMENT
                                                    ALL_SEEDS=1)
