/* A file to a running proxy, wherever it is, part by part as the proxy asks for it
 * (client/wire/PROTOCOL.md, "Streams"). One thread; blocks. */
#ifndef ALBA_UPLOAD_STREAM_H
#define ALBA_UPLOAD_STREAM_H

#include "alba/upload.h"

/* One part is in memory. A connection that is lost before the last part, or a proxy that is busy:
 * begun again, where another proxy is known through that. cli->err; cli->exception_code is
 * PROXY_RC_UNKNOWN_OPERATION from a proxy that knows no streams. */
int upload_stream(struct target *t, struct cli *cli, const struct upload *upload);

#endif
