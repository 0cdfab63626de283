// What each library says of itself. In a file of its own: the digest changes with every edit, and kernels take long to compile.
#include "psal.h"

const char* psal_version(void) { return PSAL_VERSION; }
const char* psal_source_digest(void) { return PSAL_SOURCE_DIGEST; }
