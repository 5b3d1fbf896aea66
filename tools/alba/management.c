#include "alba/management.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <curl/curl.h>

#include "base/buf.h"
#include "base/mem.h"

#define SOCKET_PATH_BYTES_MAX (sizeof((struct sockaddr_un){0}).sun_path - 1)

static size_t take_bytes(char *data, size_t size, size_t count, void *ctx)
{
    struct buf *reply = ctx;

    if (reply->len + size * count > MANAGEMENT_REPLY_BYTES_MAX) {
        return 0; /* libcurl fails the call */
    }
    buf_put(reply, data, size * count);
    return size * count;
}

/* What the daemon said about its refusal. */
static int refuse(long status, const struct buf *reply, struct err *e)
{
    json_t *doc = json_loadb((const char *)reply->data, reply->len, 0, NULL);
    const char *text = json_string_value(json_object_get(doc, "error"));
    int code = status == 404   ? ERR_NOT_FOUND
               : status == 409 ? ERR_EXISTS
               : status == 400 ? -EINVAL
                               : ERR_REMOTE;

    if (text != NULL) {
        err_say(e, code, "%s", text);
    } else {
        err_say(e, code, "HTTP status %ld", status);
    }
    json_decref(doc);
    return code;
}

static int fail_call(CURLcode rc, const char *socket_path, struct err *e)
{
    struct stat st;

    switch (rc) {
    case CURLE_COULDNT_CONNECT:
        if (stat(socket_path, &st) == 0 && !S_ISSOCK(st.st_mode)) {
            return err_say(e, -EINVAL, "%s is not a socket", socket_path);
        }
        return err_say(e, -ECONNREFUSED, "nobody answers at %s; is the daemon running?",
                       socket_path);
    case CURLE_UNSUPPORTED_PROTOCOL: /* HTTP/0.9: any bytes */
    case CURLE_WEIRD_SERVER_REPLY:
        return err_say(e, ERR_PROTOCOL,
                       "%s is not a daemon's management socket: it does not speak "
                       "HTTP",
                       socket_path);
    case CURLE_GOT_NOTHING:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
        return err_say(e, ERR_PROTOCOL,
                       "%s hung up without an answer: it is not a daemon's "
                       "management socket, or the daemon died",
                       socket_path);
    case CURLE_OPERATION_TIMEDOUT:
        return err_say(e, -ETIMEDOUT, "no answer from %s within %d s", socket_path,
                       MANAGEMENT_TIMEOUT_S);
    default:
        return err_say(e, ERR_REMOTE, "%s: %s", socket_path, curl_easy_strerror(rc));
    }
}

static int perform(CURL *curl, const char *socket_path, struct buf *reply, json_t **ret_reply,
                   struct err *e)
{
    CURLcode rc = curl_easy_perform(curl);
    json_error_t je;
    long status = 0;

    if (rc != CURLE_OK) {
        return fail_call(rc, socket_path, e);
    }
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    if (status < 200 || status > 299) {
        return refuse(status, reply, e);
    }
    *ret_reply = reply->len == 0
                     ? json_null()
                     : json_loadb((const char *)reply->data, reply->len, JSON_DECODE_ANY, &je);
    return *ret_reply != NULL ? 0
                              : err_say(e, ERR_PROTOCOL, "%s: not JSON: %s", socket_path, je.text);
}

int management_call(const char *socket_path, const char *method, const char *target,
                    const json_t *body, json_t **ret_reply, struct err *e)
{
    char *url = mem_printf("http://localhost%s", target);
    char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    CURL *curl = curl_easy_init();
    struct buf reply = {0};
    int rc;

    if (strlen(socket_path) > SOCKET_PATH_BYTES_MAX) {
        rc = err_say(e, -ENAMETOOLONG, "socket path of %zu bytes (at most %zu): '%.60s…'",
                     strlen(socket_path), SOCKET_PATH_BYTES_MAX, socket_path);
    } else if (curl == NULL || headers == NULL) {
        rc = err_set(e, -ENOMEM, "HTTP client");
    } else {
        curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, socket_path);
        curl_easy_setopt(curl, CURLOPT_URL, url);
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_bytes);
        curl_easy_setopt(curl, CURLOPT_WRITEDATA, &reply);
        curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)MANAGEMENT_TIMEOUT_S);
        if (text != NULL) {
            curl_easy_setopt(curl, CURLOPT_POSTFIELDS, text);
        }
        rc = perform(curl, socket_path, &reply, ret_reply, e);
    }
    curl_easy_cleanup(curl);
    curl_slist_free_all(headers);
    buf_release(&reply);
    free(text);
    free(url);
    return rc;
}

char *management_escape(const char *text)
{
    char *escaped = curl_easy_escape(NULL, text, (int)strlen(text));
    char *copy = mem_strdup(escaped != NULL ? escaped : "");

    curl_free(escaped);
    return copy;
}
