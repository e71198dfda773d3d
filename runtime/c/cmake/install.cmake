# Headers, library, CMake package and pkg-config file.
include(CMakePackageConfigHelpers)
set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/sharcs_edge)
install(TARGETS sharcs_edge EXPORT sharcs_edge)
install(FILES include/sharcs_edge.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT sharcs_edge NAMESPACE sharcs_edge:: FILE sharcs_edge-targets.cmake DESTINATION ${package_folder})
configure_package_config_file(cmake/sharcs_edge-config.cmake.in "${CMAKE_CURRENT_BINARY_DIR}/sharcs_edge-config.cmake"
                              INSTALL_DESTINATION ${package_folder})
write_basic_package_version_file("${CMAKE_CURRENT_BINARY_DIR}/sharcs_edge-config-version.cmake"
                                 COMPATIBILITY SameMinorVersion)
# Found from where the file lies: the prefix may be another one when the library is installed.
file(RELATIVE_PATH pc_prefix "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/.")
configure_file(cmake/sharcs_edge.pc.in sharcs_edge.pc @ONLY)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/sharcs_edge-config.cmake"
              "${CMAKE_CURRENT_BINARY_DIR}/sharcs_edge-config-version.cmake" DESTINATION ${package_folder})
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/sharcs_edge.pc" DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
