#include "tests/support/counting_new_definitions.h"
