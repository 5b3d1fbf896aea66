/* One request to the proxy that a verb works through. */
#ifndef ALBA_ASK_H
#define ALBA_ASK_H

#include <jansson.h>

#include "alba/target.h"

/* Opens the target, asks, closes it. `make` turns the reply into cli->result; NULL: none is made.
 * Fails as target_call(). */
int ask_proxy(struct cli *cli, const struct proxy_request *request,
              json_t *(*make)(const struct proxy_reply *reply));

#endif
