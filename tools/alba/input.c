#include "alba/input.h"

#include <errno.h>
#include <stdio.h>

enum { STEP_BYTES = 65536 };

int input_load(const char *path, size_t bytes_max, struct buf *ret_bytes, struct err *e)
{
    const char *name = path != NULL ? path : "standard input";
    FILE *in = path != NULL ? fopen(path, "rbe") : stdin;
    int rc = 0;
    size_t n;

    *ret_bytes = (struct buf){0};
    if (in == NULL) {
        return err_set(e, -errno, "%.200s", name);
    }
    do {
        n = fread(buf_extend(ret_bytes, STEP_BYTES), 1, STEP_BYTES, in);
        ret_bytes->len -= STEP_BYTES - n;
    } while (n != 0 && ret_bytes->len <= bytes_max);
    if (ferror(in)) {
        rc = err_set(e, -errno, "read %.200s", name);
    } else if (ret_bytes->len > bytes_max) {
        rc = err_say(e, ERR_TOO_LARGE, "%.200s: it has more than %zu bytes", name, bytes_max);
    }
    if (in != stdin) {
        fclose(in);
    }
    return rc;
}
