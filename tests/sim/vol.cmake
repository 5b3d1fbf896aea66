# A volume over a proxy over ASDs.
add_library(volume_world STATIC volume_link.c volume_world.c)
target_link_libraries(volume_world PUBLIC proxy_world vol_testlib volumedriver_backend)
add_executable(sim_volume_proxy volume_proxy.c)
target_link_libraries(sim_volume_proxy PRIVATE volume_world)
add_test(NAME sim/volume_proxy COMMAND sim_volume_proxy)
set_tests_properties(sim/volume_proxy PROPERTIES LABELS sim TIMEOUT 600)

# Every point, where the run above takes some.
add_test(NAME nightly/volume_proxy COMMAND sim_volume_proxy)
set_tests_properties(nightly/volume_proxy PROPERTIES LABELS nightly TIMEOUT 7200 ENVIRONMENT
                                                     "POINTS=0;SEEDS=200")
