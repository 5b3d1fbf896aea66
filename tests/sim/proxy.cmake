# The proxy over fake ASDs and metadata in memory, with faults.
add_library(proxy_world STATIC proxy_fake_asd.c proxy_fixture.c proxy_world.c)
target_include_directories(proxy_world PUBLIC ${CMAKE_SOURCE_DIR} ${CMAKE_SOURCE_DIR}/tests)
target_link_libraries(proxy_world PUBLIC proxy_core kv_mem testlib PkgConfig::cmocka)

function(proxy_sim name)
  add_executable(sim_proxy_${name} proxy_${name}.c)
  target_link_libraries(sim_proxy_${name} PRIVATE proxy_world)
  add_test(NAME sim/proxy/${name} COMMAND sim_proxy_${name})
  set_tests_properties(sim/proxy/${name} PROPERTIES LABELS sim TIMEOUT 180)
endfunction()

proxy_sim(read)
proxy_sim(peers)
proxy_sim(protocol)
proxy_sim(stale)
proxy_sim(write)
proxy_sim(maintenance)
target_link_libraries(sim_proxy_maintenance PRIVATE maintenance_core)
