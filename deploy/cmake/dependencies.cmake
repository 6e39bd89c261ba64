# Every third party, found once. deploy/packages.sh installs the Debian packages named here.
find_package(Threads REQUIRED)
find_package(Boost 1.81 REQUIRED)                       # libboost1.81-dev
find_package(OpenSSL 3.0 REQUIRED)                      # libssl-dev
find_package(PostgreSQL REQUIRED)                       # libpq-dev
find_package(yaml-cpp 0.7 REQUIRED)                     # libyaml-cpp-dev
find_package(prometheus-cpp CONFIG REQUIRED)            # prometheus-cpp-dev
find_package(spdlog CONFIG REQUIRED)                    # libspdlog-dev

# libpg_query has neither a CMake config nor a pkg-config file.    libpg-query-dev
find_path(PG_QUERY_INCLUDE_DIR pg_query.h REQUIRED)
find_library(PG_QUERY_LIBRARY pg_query REQUIRED)
add_library(pg_query UNKNOWN IMPORTED)
set_target_properties(pg_query PROPERTIES
    IMPORTED_LOCATION ${PG_QUERY_LIBRARY}
    INTERFACE_INCLUDE_DIRECTORIES ${PG_QUERY_INCLUDE_DIR})

# liburing has a pkg-config file only.                               liburing-dev
find_path(URING_INCLUDE_DIR liburing.h REQUIRED)
find_library(URING_LIBRARY uring REQUIRED)
add_library(uring UNKNOWN IMPORTED)
set_target_properties(uring PROPERTIES
    IMPORTED_LOCATION ${URING_LIBRARY}
    INTERFACE_INCLUDE_DIRECTORIES ${URING_INCLUDE_DIR})

# PostgreSQL's own headers, for the raw parse tree alone.            postgresql-server-dev-15
find_path(PG_SERVER_INCLUDE_DIR nodes/parsenodes.h
    PATHS /usr/include/postgresql/15/server NO_DEFAULT_PATH REQUIRED)

# xxHash inlined: libpg_query exports an older one under the same names.   libxxhash-dev
find_path(XXHASH_INCLUDE_DIR xxhash.h REQUIRED)

# Asio is compiled once, in proxy/asio.cpp; every user must see the same definitions.
add_library(pgmend_asio INTERFACE)
target_link_libraries(pgmend_asio INTERFACE Boost::headers Threads::Threads)
target_compile_definitions(pgmend_asio INTERFACE
    BOOST_ASIO_NO_DEPRECATED BOOST_ASIO_SEPARATE_COMPILATION BOOST_BEAST_SEPARATE_COMPILATION)
