# Installs BUILD into a fresh folder, builds the example against it with find_package and with pkg-config, and runs it.
set(prefix "${BUILD}/install-check")
file(REMOVE_RECURSE "${prefix}" "${BUILD}/consumer")
function(run)
  execute_process(COMMAND ${ARGN} COMMAND_ERROR_IS_FATAL ANY OUTPUT_QUIET)
endfunction()
run(${CMAKE_COMMAND} --install "${BUILD}" --prefix "${prefix}")
set(compilers -DCMAKE_C_COMPILER=${C_COMPILER} -DCMAKE_CXX_COMPILER=${CXX_COMPILER})
run(${CMAKE_COMMAND} -S "${SOURCE}/consumer" -B "${BUILD}/consumer" ${compilers} "-DCMAKE_PREFIX_PATH=${prefix}"
    "-DEXAMPLES=${EXAMPLES}")
run(${CMAKE_COMMAND} --build "${BUILD}/consumer")
set(programs "${BUILD}/consumer/classify")
find_program(PKG_CONFIG pkg-config)
if(PKG_CONFIG)
  file(GLOB_RECURSE pc "${prefix}/*/sharcs_edge.pc")
  get_filename_component(folder "${pc}" DIRECTORY)
  set(ENV{PKG_CONFIG_PATH} "${folder}")
  execute_process(COMMAND ${PKG_CONFIG} --define-variable=prefix=${prefix} --cflags --libs sharcs_edge
                  OUTPUT_VARIABLE flags OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  separate_arguments(flags UNIX_COMMAND "${flags}")
  get_filename_component(libraries "${folder}" DIRECTORY)
  run(${C_COMPILER} -std=c99 -Wall -Wextra -Werror "${EXAMPLES}/classify.c" ${flags} -Wl,-rpath,${libraries} -o
      "${BUILD}/consumer/classify-pc")
  list(APPEND programs "${BUILD}/consumer/classify-pc")
endif()
foreach(program ${programs})
  # ONNX Runtime is found by its usual name in the loader's path, as in an app that ships it.
  execute_process(COMMAND ${CMAKE_COMMAND} -E env "LD_LIBRARY_PATH=${ONNXRUNTIME_FOLDER}" ${program}
                          "${SOURCE}/data/classification" "turn on the light" OUTPUT_VARIABLE output
                          COMMAND_ERROR_IS_FATAL ANY)
  if(NOT output STREQUAL "weather 0.640 (width 0.5, escalated)\n")
    message(FATAL_ERROR "${program} printed ${output}")
  endif()
endforeach()
