# Compares the symbols that LIBRARY exports with LIST.
execute_process(COMMAND ${NM} -D --defined-only ${LIBRARY} OUTPUT_VARIABLE output COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "[^ \n]+\n" found "${output}")
list(SORT found)
string(REPLACE ";" "" found "${found}")
file(READ ${LIST} expected)
if(NOT found STREQUAL expected)
  message(FATAL_ERROR "the library exports\n${found}and symbols.txt lists\n${expected}")
endif()
