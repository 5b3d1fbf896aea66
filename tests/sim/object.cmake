# The inner client of the client library against proxies and ASDs with faults.
add_library(object_world STATIC object_world.c)
target_link_libraries(object_world PUBLIC proxy_world object)

foreach(name direct faults preference)
  add_executable(sim_object_${name} object_${name}.c)
  target_link_libraries(sim_object_${name} PRIVATE object_world)
  add_test(NAME sim/object/${name} COMMAND sim_object_${name})
  set_tests_properties(sim/object/${name} PROPERTIES LABELS sim TIMEOUT 180)
endforeach()
