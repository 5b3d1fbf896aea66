/* Error values: a code that programs test and a message that people read.
 *
 * A function that can fail returns 0 or a negative code. Negative errno and
 * libuv codes keep their value; our own start at -5001, below both ranges.
 * Branch on codes, never on the text. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#define ERR_MSG_BYTES 320

#define ERR_MAP(X)                                                                                 \
    X(ERR_BUSY, -5001, "limit reached, try again later")                                           \
    X(ERR_CANCELED, -5002, "operation canceled")                                                   \
    X(ERR_CORRUPT, -5003, "stored data fails its checks")                                          \
    X(ERR_FAILED, -5004, "device is out of service after an error")                                \
    X(ERR_SHORT_WRITE, -5005, "fewer bytes written than asked")                                    \
    X(ERR_ASSERT_FAILED, -5006, "assert failed")                                                   \
    X(ERR_FULL, -5007, "no space left within the limit")                                           \
    X(ERR_PROTOCOL, -5008, "peer broke the protocol")                                              \
    X(ERR_UNKNOWN_OPERATION, -5009, "peer does not know this operation")                           \
    X(ERR_IN_DOUBT, -5010, "outcome unknown")                                                      \
    X(ERR_NOT_FOUND, -5011, "does not exist")                                                      \
    X(ERR_EXISTS, -5012, "exists already")                                                         \
    X(ERR_NO_POLICY, -5013, "no policy can be satisfied")                                          \
    X(ERR_FENCED, -5014, "another owner has taken over")                                           \
    X(ERR_VERSION, -5015, "version not supported")                                                 \
    X(ERR_REMOTE, -5016, "peer reported an error")                                                 \
    X(ERR_CHECKSUM, -5017, "checksum mismatch")                                                    \
    X(ERR_TOO_LARGE, -5018, "larger than the limit")                                               \
    X(ERR_IDENTITY, -5019, "peer has another identity")                                            \
    X(ERR_NOT_ENOUGH, -5020, "not enough fragments")                                               \
    X(ERR_CONFIG, -5021, "bad configuration")                                                      \
    X(ERR_STALE, -5022, "decided on a state that has ended")                                       \
    X(ERR_TLS, -5023, "TLS failed")                                                                \
    X(ERR_KEY, -5024, "encryption key not available")                                              \
    X(ERR_LOST, -5025, "its metadata is lost")

enum err_code {
#define X(name, value, text) name = value,
    ERR_MAP(X)
#undef X
};

struct err {
    int code;
    char msg[ERR_MSG_BYTES]; /* "inner detail", prefixed as it travels up */
};

/* Fill *e and return `code`, so that callers can write `return err_set(...)`.
 * Appends the text of `code` to the message. Truncates, never allocates. */
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* As err_set(), for a message that needs no text of the code behind it. */
int err_say(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Put "<text>: " before the message in *e and return e->code. */
int err_wrap(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Copy `from` into `to` and return its code. */
int err_copy(struct err *to, const struct err *from);

/* Static text for any code above, negative errno or libuv code. */
const char *err_text(int code);

#endif
