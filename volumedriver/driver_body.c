#include "volumedriver/driver_body.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static bool is_count(const json_t *value)
{
    return json_is_integer(value) && json_integer_value(value) >= 0;
}

static bool is_text(const json_t *value)
{
    return json_is_string(value);
}

static bool is_flag(const json_t *value)
{
    return json_is_boolean(value);
}

static const struct field {
    const char *name;
    bool (*is_good)(const json_t *value);
    const char *want;
} fields[] = {
    {"name", is_text, "a text"},
    {"size", is_count, "a number of bytes, a multiple of 4096"},
    {"preset", is_text, "a text"},
    {"force", is_flag, "true or false"},
    {"accept_loss", is_flag, "true or false"},
};

/* Unpacking would say what is wrong, but not where. */
static int check_fields(const json_t *doc, struct err *e)
{
    for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
        const json_t *value = json_object_get(doc, fields[i].name);

        if (value != NULL && !fields[i].is_good(value)) {
            char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);

            err_say(e, -EINVAL, "%s %.60s: want %s", fields[i].name, text != NULL ? text : "?",
                    fields[i].want);
            free(text);
            return e->code;
        }
    }
    return 0;
}

json_t *driver_body_of(const struct http_request *request, const char *format, struct err *e, ...)
{
    struct slice body = http_request_body(request);
    json_error_t je;
    json_t *doc = json_loadb((const char *)body.data, body.len, 0, &je);
    int rc = doc != NULL ? check_fields(doc, e) : 0;
    va_list ap;

    if (rc != 0) {
        json_decref(doc);
        return NULL;
    }
    va_start(ap, e);
    if (doc != NULL && json_vunpack_ex(doc, &je, JSON_STRICT, format, ap) != 0) {
        json_decref(doc);
        doc = NULL;
    }
    va_end(ap);
    if (doc == NULL) {
        err_say(e, -EINVAL, "request body: %s", je.text);
    }
    return doc;
}
