# Makes a C++ source of the dashboard: cmake -DPAGE=page.html -DSOURCE=out.cpp -P embed.cmake
# The page is one line of text after the other; its policy stands in its head, where the build has put it.
file(READ ${PAGE} text)
if(NOT text MATCHES "http-equiv=\"Content-Security-Policy\" content=\"([^\"]+)\"")
    message(FATAL_ERROR "${PAGE} has no policy")
endif()
set(policy "${CMAKE_MATCH_1}; frame-ancestors 'none'")

execute_process(COMMAND gzip -9nc ${PAGE} OUTPUT_FILE ${SOURCE}.gz RESULT_VARIABLE failed)
if(failed)
    message(FATAL_ERROR "gzip ${PAGE}: ${failed}")
endif()
file(READ ${SOURCE}.gz bytes HEX)
file(REMOVE ${SOURCE}.gz)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "\\\\x\\1" bytes "${bytes}")
# In literals of moderate length, which the compiler joins.
string(LENGTH "${bytes}" length)
math(EXPR size "${length} / 4")
set(lines "")
set(at 0)
while(at LESS length)
    string(SUBSTRING "${bytes}" ${at} 400 line)
    string(APPEND lines "    \"${line}\"\n")
    math(EXPR at "${at} + 400")
endwhile()
file(WRITE ${SOURCE} "#include \"proxy/dashboard/embedded.hpp\"

namespace pgmend::proxy::dashboard {

std::string_view packed_page() noexcept {
    return {
${lines}        , ${size}};
}

std::string_view content_policy() noexcept { return \"${policy}\"; }

}  // namespace pgmend::proxy::dashboard
")
