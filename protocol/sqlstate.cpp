#include "protocol/sqlstate.hpp"
