// Boost.JSON, compiled once: the library is used by its headers, without a further package to run with.

#include <boost/json/src.hpp>
