# Compares what PROGRAM (of make_abi.cmake, run by EMULATOR) prints with LIST.
execute_process(COMMAND ${EMULATOR} ${PROGRAM} OUTPUT_VARIABLE found COMMAND_ERROR_IS_FATAL ANY)
file(READ ${LIST} expected)
if(found STREQUAL expected)
  return()
endif()
foreach(text found expected)
  string(REPLACE ";" "" ${text} "${${text}}")
  string(REGEX MATCHALL "[^\n]+" ${text}_lines "${${text}}")
endforeach()
set(added ${found_lines})
list(REMOVE_ITEM added ${expected_lines})
set(removed ${expected_lines})
list(REMOVE_ITEM removed ${found_lines})
list(JOIN added "\n" added)
list(JOIN removed "\n" removed)
message(FATAL_ERROR "the header is no longer what apps were compiled with. New:\n${added}\nGone:\n${removed}\n"
                    "A function, a constant or a field at the end of a struct that has a struct_size may be added: write "
                    "the output of ${PROGRAM} to ${LIST}. Anything else needs another SHARCS_ABI_VERSION as well.")
