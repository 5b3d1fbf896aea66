/* An object into a file, window by window: of any size, through any proxy.
 *
 * The file gets its name when all of it is there, verified and flushed. Until then it has none, or,
 * on a file system that knows only files with names, NAME.part-PID. One thread; blocks. */
#ifndef ALBA_DOWNLOAD_H
#define ALBA_DOWNLOAD_H

#include "alba/target.h"

/* Fails with cli->err and leaves no file; so it does after SIGINT and SIGTERM. What was at `path`
 * is replaced, if it is a regular file. */
int download_object(struct target *t, struct cli *cli, const char *ns, struct slice name,
                    const char *path);

#endif
