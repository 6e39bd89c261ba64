# What is installed, and the Debian package made of it: cmake --build --preset release --target manual, then
# cpack -G DEB in the build folder.
# Units and settings have places of their own beside it, so the package is laid out through DESTDIR.
if(CMAKE_INSTALL_PREFIX_INITIALIZED_TO_DEFAULT)
    set(CMAKE_INSTALL_PREFIX /usr CACHE PATH "Where the program is installed" FORCE)
endif()
include(GNUInstallDirs)

set(manual_pages pgmend.1 pgmend.yaml.5)
foreach(page IN LISTS manual_pages)
    add_custom_command(
        OUTPUT ${page}.gz
        COMMAND $<TARGET_FILE:pgmend> --print-man ${page} > ${page}
        COMMAND gzip -9nf ${page}
        DEPENDS pgmend VERBATIM)
endforeach()
add_custom_target(manual DEPENDS pgmend.1.gz pgmend.yaml.5.gz)

install(TARGETS pgmend RUNTIME)
install(FILES ${PROJECT_BINARY_DIR}/pgmend.1.gz TYPE MAN RENAME man1/pgmend.1.gz)
install(FILES ${PROJECT_BINARY_DIR}/pgmend.yaml.5.gz TYPE MAN RENAME man5/pgmend.yaml.5.gz)
install(FILES deploy/systemd/pgmend.service deploy/systemd/pgmend.socket DESTINATION /lib/systemd/system)
install(FILES deploy/config.example.yaml DESTINATION /etc/pgmend RENAME pgmend.yaml)
install(FILES deploy/debian/default DESTINATION /etc/default RENAME pgmend)
install(FILES deploy/CONFIGURATION.md deploy/METRICS.md TYPE DOC)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME pgmend)
set(CPACK_PACKAGE_CONTACT "the pgmend project <pgmend@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "self-healing proxy for PostgreSQL")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
    "pgmend stands between an application and PostgreSQL, shares few server\n connections among many clients, and keeps the application from noticing\n what goes wrong on the way.")
set(CPACK_SET_DESTDIR ON)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION database)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "adduser, init-system-helpers (>= 1.54)")
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
    ${PROJECT_SOURCE_DIR}/deploy/debian/postinst ${PROJECT_SOURCE_DIR}/deploy/debian/prerm
    ${PROJECT_SOURCE_DIR}/deploy/debian/postrm ${PROJECT_SOURCE_DIR}/deploy/debian/conffiles)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
include(CPack)
