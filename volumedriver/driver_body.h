/* What a caller of the management API sent. Loop thread only. */
#ifndef VOLUMEDRIVER_DRIVER_BODY_H
#define VOLUMEDRIVER_DRIVER_BODY_H

#include <jansson.h>

#include "base/err.h"
#include "daemon/http.h"

/* The body as a JSON object: `format` and what follows `e` as for json_unpack_ex(), into which
 * strings borrow from the result. NULL and *e for any other, naming the field and its value. */
json_t *driver_body_of(const struct http_request *request, const char *format, struct err *e, ...);

#endif
