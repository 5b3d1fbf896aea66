#include "proxy/rc.h"

#include <errno.h>

#include <uv.h>

#include "base/err.h"
#include "wire/proxy_msg.h"

int32_t rc_of(int err_code)
{
    switch (err_code) {
    case ERR_IN_DOUBT:
        return PROXY_RC_IN_DOUBT;
    case ERR_FULL:
        return PROXY_RC_FULL;
    case ERR_BUSY:
        return PROXY_RC_BUSY;
    case UV_ETIMEDOUT:
        return PROXY_RC_TIMED_OUT;
    case ERR_TOO_LARGE:
        return PROXY_RC_TOO_LARGE;
    case ERR_NOT_ENOUGH:
        return PROXY_RC_NOT_ENOUGH;
    case ERR_LOST:
        return PROXY_RC_LOST;
    case -EINVAL:
        return PROXY_RC_BAD_ARGUMENT;
    default:
        return PROXY_RC_UNKNOWN;
    }
}
