/* Asking a daemon's management API: HTTP with JSON on a unix socket. One thread; blocks. */
#ifndef ALBA_MANAGEMENT_H
#define ALBA_MANAGEMENT_H

#include <jansson.h>

#include "base/err.h"

enum { MANAGEMENT_REPLY_BYTES_MAX = 64 * 1048576, MANAGEMENT_TIMEOUT_S = 120 };

/* `method` GET, PUT, POST, DELETE; `target` "/volumes/a%20b"; `body` may be NULL. 0 for a 2xx
 * answer: *ret_reply is new (JSON null for an empty one). Otherwise the daemon's {"error": …} is
 * the message; 404 gives ERR_NOT_FOUND, 409 ERR_EXISTS, 400 -EINVAL, else ERR_REMOTE. */
int management_call(const char *socket_path, const char *method, const char *target,
                    const json_t *body, json_t **ret_reply, struct err *e);

/* `text` with everything but letters, digits, -._~ as %XX; fresh. */
char *management_escape(const char *text);

#endif
