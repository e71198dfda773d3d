# nlohmann/json, header only, as the target `sharcs_json`: the installed package (Debian: nlohmann-json3-dev), else the
# folder that holds nlohmann/json.hpp, given as -DSHARCS_JSON_INCLUDE_DIR=FOLDER (an app that brings its own copy).
add_library(sharcs_json INTERFACE)
if(SHARCS_JSON_INCLUDE_DIR)
  target_include_directories(sharcs_json SYSTEM INTERFACE "${SHARCS_JSON_INCLUDE_DIR}")
else()
  find_package(nlohmann_json 3.10 QUIET)
  if(NOT nlohmann_json_FOUND)
    message(FATAL_ERROR "nlohmann/json was not found; install it (Debian: apt install nlohmann-json3-dev) or give the "
                        "folder that holds nlohmann/json.hpp: -DSHARCS_JSON_INCLUDE_DIR=FOLDER")
  endif()
  # Its folder as a system one: warnings in it are not ours.
  get_target_property(folders nlohmann_json::nlohmann_json INTERFACE_INCLUDE_DIRECTORIES)
  target_include_directories(sharcs_json SYSTEM INTERFACE ${folders})
endif()
