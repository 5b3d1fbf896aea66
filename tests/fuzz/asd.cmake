# Decoders of what an ASD keeps, and the framer.
if(FUZZ)
  add_library(asd_fuzz STATIC ${CMAKE_SOURCE_DIR}/asd/record.c ${CMAKE_SOURCE_DIR}/asd/home.c
                              ${CMAKE_SOURCE_DIR}/asd/mark.c
                              ${CMAKE_SOURCE_DIR}/asd/scrub_record.c
                              ${CMAKE_SOURCE_DIR}/client/loop/io.c
                              ${CMAKE_SOURCE_DIR}/client/loop/io_file.c
                              ${CMAKE_SOURCE_DIR}/client/net/framer.c)
  target_compile_options(asd_fuzz PUBLIC ${fuzz_flags})
  target_include_directories(asd_fuzz PUBLIC ${CMAKE_SOURCE_DIR})
  target_link_libraries(asd_fuzz PUBLIC wire_fuzz base_fuzz)

  foreach(name asd_record asd_home net_framer)
    add_executable(fuzz_${name} fuzz_${name}.c)
    target_link_libraries(fuzz_${name} PRIVATE asd_fuzz)
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer,address,undefined)
    add_test(NAME fuzz/${name}
             COMMAND fuzz_${name} -runs=0 ${CMAKE_CURRENT_SOURCE_DIR}/corpus/${name})
    list(APPEND fuzz_targets fuzz_${name})
  endforeach()

  # Writes the seeds below a folder: bin/fuzz_asd_corpus tests/fuzz/corpus
  add_executable(fuzz_asd_corpus fuzz_asd_corpus.c)
  target_link_libraries(fuzz_asd_corpus PRIVATE asd_fuzz)
  target_link_options(fuzz_asd_corpus PRIVATE -fsanitize=address,undefined)
endif()
