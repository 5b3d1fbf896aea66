/* Where an engine is: URLs, files that hold one, and who opens what. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loop/io.h"
#include "meta/kv.h"
#include "meta/kv_engine.h"
#include "net/addr.h"

enum { URL_FILE_BYTES_MAX = 65536 };

#define EXAMPLE "asd://127.0.0.1:8000"

static bool has_prefix(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

int kv_url_check(const char *url, struct err *e)
{
    static const char *const later[] = {"etcd", "postgresql"};
    size_t scheme = strcspn(url, ":");

    if (strlen(url) >= KV_URL_BYTES_MAX) {
        return err_set(e, ERR_CONFIG, "engine URL of %zu bytes (at most %d)", strlen(url),
                       KV_URL_BYTES_MAX - 1);
    }
    if (has_prefix(url, "asd://") || has_prefix(url, "asd+tls://")) {
        return 0;
    }
    if (has_prefix(url, "arakoon://")) {
        return err_say(e, ERR_CONFIG,
                       "'%s': arakoon is not supported; metadata lives in asd://, etcd:// or "
                       "postgresql:// here",
                       url);
    }
    for (size_t i = 0; i < sizeof(later) / sizeof(later[0]); i++) {
        if (scheme == strlen(later[i]) && has_prefix(url, later[i]) &&
            has_prefix(url + scheme, "://")) {
            return err_say(e, ERR_CONFIG, "'%s': this build has no %s engine", url, later[i]);
        }
    }
    return err_say(e, ERR_CONFIG, "'%s' is not an engine URL such as " EXAMPLE, url);
}

/* The first line of the file that is not empty. */
static int load_file(const char *path, char ret_url[KV_URL_BYTES_MAX], struct err *e)
{
    uint8_t *data = NULL;
    size_t bytes = 0;
    size_t start = 0;
    size_t end;
    int rc = io_load_file(io_real(), path, URL_FILE_BYTES_MAX, &data, &bytes);

    if (rc != 0) {
        return err_set(e, rc, "engine URL file %s", path);
    }
    while (start < bytes && strchr(" \t\r\n", data[start]) != NULL && data[start] != 0) {
        start++;
    }
    end = start;
    while (end < bytes && data[end] >= 0x21 && data[end] < 0x7f) {
        end++;
    }
    if (end == start || end - start >= KV_URL_BYTES_MAX) {
        rc = err_set(e, ERR_CONFIG, "file %s holds no engine URL", path);
        goto out;
    }
    memcpy(ret_url, data + start, end - start);
    ret_url[end - start] = '\0';
    if (ret_url[0] == '[') { /* an ini file of the system that this one replaces */
        rc = err_set(e, ERR_CONFIG, "an arakoon configuration, which is not supported");
    } else {
        rc = kv_url_check(ret_url, e);
    }
    if (rc != 0) {
        err_wrap(e, "file %s", path);
    }

out:
    free(data);
    return rc;
}

int kv_url_load(const char *where, char ret_url[KV_URL_BYTES_MAX], struct err *e)
{
    if (has_prefix(where, "file://")) {
        return load_file(where + strlen("file://"), ret_url, e);
    }
    if (where[0] == '\0') {
        return err_say(e, ERR_CONFIG, "the engine URL is empty; one looks like " EXAMPLE);
    }
    if (strstr(where, "://") == NULL) {
        int rc = load_file(where, ret_url, e);

        return rc != -ENOENT
                   ? rc
                   : err_say(e, rc, "'%s' is neither a file nor an engine URL such as " EXAMPLE,
                             where);
    }
    if (kv_url_check(where, e) != 0) {
        return e->code;
    }
    snprintf(ret_url, KV_URL_BYTES_MAX, "%s", where);
    return 0;
}

int kv_open(uv_loop_t *loop, const char *where, struct net_tls *tls, struct kv **ret_kv,
            struct err *e)
{
    char url[KV_URL_BYTES_MAX];

    *ret_kv = NULL;
    if (kv_url_load(where, url, e) != 0) {
        return e->code;
    }
    return kv_asd_open(loop, url, tls, ret_kv, e);
}
