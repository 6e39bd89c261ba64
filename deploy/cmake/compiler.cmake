# How our own code is compiled: one interface target that every pgmend target links.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_C_STANDARD 11)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

find_program(PGMEND_CCACHE ccache)
if(PGMEND_CCACHE)
    set(CMAKE_C_COMPILER_LAUNCHER ${PGMEND_CCACHE})
    set(CMAKE_CXX_COMPILER_LAUNCHER ${PGMEND_CCACHE})
endif()

add_library(pgmend_compiler INTERFACE)
target_include_directories(pgmend_compiler INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(pgmend_compiler INTERFACE
    -Wall -Wextra -Wno-missing-field-initializers
    $<$<COMPILE_LANGUAGE:CXX>:-Wconversion -Wshadow -Wnon-virtual-dtor -Wswitch -Wold-style-cast>
    $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-restrict>
    $<$<BOOL:${PGMEND_WERROR}>:-Werror>)
if(NOT PGMEND_TESTS)
    # What is shipped does not say where it was compiled: the same sources give the same program in every folder.
    target_compile_options(pgmend_compiler INTERFACE -ffile-prefix-map=${PROJECT_SOURCE_DIR}=.)
endif()
if(PGMEND_SANITIZE)
    string(REPLACE ";" "," sanitizers "${PGMEND_SANITIZE}")
    target_compile_options(pgmend_compiler INTERFACE -fsanitize=${sanitizers} -fno-omit-frame-pointer -fno-sanitize-recover=all)
    target_link_options(pgmend_compiler INTERFACE -fsanitize=${sanitizers})
    # Clang 14 cannot put the check of function pointers in front of a coroutine's parts.
    target_compile_options(pgmend_compiler INTERFACE $<$<COMPILE_LANG_AND_ID:CXX,Clang>:-fno-sanitize=function>)
    if("thread" IN_LIST PGMEND_SANITIZE)
        target_compile_options(pgmend_compiler INTERFACE -Wno-tsan)
        target_compile_definitions(pgmend_compiler INTERFACE BOOST_ASIO_DISABLE_FENCED_BLOCK)
    endif()
endif()

# pgmend_library(name DEPENDS ...): the static library of one folder, from all sources in it.
function(pgmend_library name)
    cmake_parse_arguments(arg "" "" "DEPENDS;PRIVATE_DEPENDS;EXCLUDE" ${ARGN})
    file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp ${CMAKE_CURRENT_SOURCE_DIR}/*/*.cpp
        ${CMAKE_CURRENT_SOURCE_DIR}/*.c)
    foreach(excluded IN LISTS arg_EXCLUDE)
        list(REMOVE_ITEM sources ${CMAKE_CURRENT_SOURCE_DIR}/${excluded})
    endforeach()
    add_library(${name} STATIC ${sources})
    target_link_libraries(${name} PUBLIC pgmend_compiler ${arg_DEPENDS} PRIVATE ${arg_PRIVATE_DEPENDS})
endfunction()
