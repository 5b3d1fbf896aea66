/* Which code of the proxy protocol tells a client about an error of ours. */
#ifndef PROXY_RC_H
#define PROXY_RC_H

#include <stdint.h>

/* For errors whose meaning does not depend on the command; enum proxy_rc. */
int32_t rc_of(int err_code);

#endif
