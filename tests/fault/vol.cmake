# The volume driver's part of tests/fault.
fault_test(vol_journal vol_testlib)
fault_test(vol_volume vol_testlib)
fault_test(vol_damage vol_testlib)
fault_test(vol_remap vol_testlib)

# All seeds, where the run above takes some.
add_test(NAME nightly/vol_journal COMMAND fault_vol_journal)
set_tests_properties(nightly/vol_journal PROPERTIES LABELS nightly TIMEOUT 3600 ENVIRONMENT
                                                    ALL_SEEDS=1)
