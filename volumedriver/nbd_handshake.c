/* Greeting -> client flags -> options, until NBD_OPT_GO or NBD_OPT_EXPORT_NAME chooses an
 * export that exists and may be used from this host. Any other option is answered and the
 * client may go on; only NBD_OPT_EXPORT_NAME has no way to say no but closing. */
#include "volumedriver/nbd_handshake.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"

static void put_u16be(struct buf *b, uint16_t v)
{
    buf_put_u8(b, (uint8_t)(v >> 8));
    buf_put_u8(b, (uint8_t)v);
}

void nbd_handshake_init(struct nbd_handshake *hs, struct nbd_exports *exports,
                        const struct nbd_host *host)
{
    *hs = (struct nbd_handshake){.exports = exports, .host = *host};
    buf_put_u64be(&hs->out, NBD_MAGIC);
    buf_put_u64be(&hs->out, NBD_OPTS_MAGIC);
    put_u16be(&hs->out, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
}

struct nbd_export *nbd_handshake_detach(struct nbd_handshake *hs)
{
    struct nbd_export *export = hs->export;

    hs->export = NULL;
    return export;
}

void nbd_handshake_release(struct nbd_handshake *hs)
{
    if (hs->export != NULL) {
        nbd_export_detach(hs->export);
        hs->export = NULL;
    }
    free(hs->context_name);
    hs->context_name = NULL;
    buf_release(&hs->out);
}

static void close_with(struct nbd_handshake *hs, int rc, const char *why)
{
    err_set(&hs->err, rc, "%s", why);
    hs->state = NBD_HANDSHAKE_CLOSE;
}

static void refuse(struct nbd_handshake *hs, enum nbd_rep type, const char *text)
{
    nbd_option_error_put(&hs->out, hs->option, type, text);
}

static void refuse_bad(struct nbd_handshake *hs, int rc)
{
    if (rc == ERR_TOO_LARGE) {
        refuse(hs, NBD_REP_ERR_TOO_BIG, "a string of more than 4096 bytes");
    } else {
        refuse(hs, NBD_REP_ERR_INVALID, "malformed option");
    }
}

static void acknowledge(struct nbd_handshake *hs)
{
    nbd_option_reply_put(&hs->out, hs->option, NBD_REP_ACK, slice_of(NULL, 0));
}

/* NULL: *ret_why says why not, and hs->held whether to ask again. */
static struct nbd_export *find_export(struct nbd_handshake *hs, struct slice name,
                                      struct err *ret_why)
{
    const struct nbd_exports_ops *ops = hs->exports->ops;
    char text[NBD_STRING_BYTES_MAX + 1];
    struct nbd_export *export;
    int rc = ERR_NOT_FOUND;

    if (name.len != 0) {
        memcpy(text, name.data, name.len);
    }
    text[name.len] = '\0';
    export = ops->find(hs->exports, text);
    if (export != NULL) {
        return export;
    }
    if (ops->missing != NULL) {
        rc = ops->missing(hs->exports, text, ret_why);
    } else {
        err_say(ret_why, rc, "no export '%.128s'", text);
    }
    hs->held = rc == ERR_BUSY && !hs->impatient;
    return NULL;
}

/* Every volume is written through one journal, and volume_flush() covers every write whose
 * callback ran before the flush was submitted, whoever sent it. A reply is only sent after
 * its callback, and a FLUSH is only submitted after it was received: so a FLUSH on any
 * connection covers every write whose reply was sent on any connection before, and reads see
 * one volume without caches of ours in between. That is what CAN_MULTI_CONN promises. */
static uint16_t transmission_flags(const struct nbd_handshake *hs, const struct nbd_export *export)
{
    unsigned flags =
        NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA | NBD_FLAG_CAN_MULTI_CONN;

    if (export->read_only) {
        flags |= NBD_FLAG_READ_ONLY;
    } else {
        flags |= NBD_FLAG_SEND_TRIM | NBD_FLAG_SEND_WRITE_ZEROES | NBD_FLAG_SEND_FAST_ZERO;
    }
    if (hs->structured) {
        flags |= NBD_FLAG_SEND_DF;
    }
    return (uint16_t)flags;
}

/* A context selected for one export does not hold for another. */
static void enter_transmission(struct nbd_handshake *hs, struct nbd_export *export,
                               struct slice name)
{
    hs->export = export;
    hs->allocation =
        hs->structured && hs->context_name != NULL && slice_eq(slice_str(hs->context_name), name);
    hs->state = NBD_HANDSHAKE_DONE;
}

static void on_export_name(struct nbd_handshake *hs, struct slice data)
{
    struct nbd_export *export;
    struct slice name;
    struct err e;
    int rc = nbd_option_name_decode(&name, data);

    if (rc != 0) {
        close_with(hs, rc, "NBD_OPT_EXPORT_NAME with a bad name");
        return;
    }
    export = find_export(hs, name, &e);
    if (export == NULL) {
        if (!hs->held) {
            err_copy(&hs->err, &e);
            hs->state = NBD_HANDSHAKE_CLOSE;
        }
        return;
    }
    if (nbd_export_attach(export, &hs->host, &hs->err) != 0) {
        hs->refused_host += hs->err.code == -EBUSY;
        hs->state = NBD_HANDSHAKE_CLOSE;
        return;
    }
    buf_put_u64be(&hs->out, export->size_bytes);
    put_u16be(&hs->out, transmission_flags(hs, export));
    if (!hs->no_zeroes) {
        memset(buf_extend(&hs->out, NBD_EXPORT_NAME_ZEROES_BYTES), 0, NBD_EXPORT_NAME_ZEROES_BYTES);
    }
    enter_transmission(hs, export, name);
}

static void put_infos(struct nbd_handshake *hs, const struct nbd_option_go *go,
                      const struct nbd_export *export)
{
    nbd_option_export_put(&hs->out, hs->option, export->size_bytes, transmission_flags(hs, export));
    if (go->want_name) {
        nbd_option_text_put(&hs->out, hs->option, NBD_INFO_NAME, export->name);
    }
    if (go->want_description && export->description != NULL) {
        nbd_option_text_put(&hs->out, hs->option, NBD_INFO_DESCRIPTION, export->description);
    }
    if (go->want_block_size) {
        nbd_option_block_size_put(&hs->out, hs->option, NBD_BLOCK_MIN_BYTES,
                                  NBD_BLOCK_PREFERRED_BYTES, NBD_BLOCK_MAX_BYTES);
    }
}

/* find_export() found nothing. */
static void refuse_missing(struct nbd_handshake *hs, const struct err *why)
{
    if (!hs->held) {
        refuse(hs, NBD_REP_ERR_UNKNOWN, why->msg);
    }
}

/* NBD_OPT_INFO says what NBD_OPT_GO would say, a refusal too. */
static void on_go(struct nbd_handshake *hs, struct slice data)
{
    bool enter = hs->option == NBD_OPT_GO;
    struct nbd_option_go go;
    struct nbd_export *export;
    struct err e;
    int rc = nbd_option_go_decode(&go, data);

    if (rc != 0) {
        refuse_bad(hs, rc);
        return;
    }
    export = find_export(hs, go.name, &e);
    if (export == NULL) {
        refuse_missing(hs, &e);
        return;
    }
    rc = enter ? nbd_export_attach(export, &hs->host, &e) : nbd_export_check(export, &hs->host, &e);
    if (rc != 0) {
        hs->refused_host += rc == -EBUSY;
        refuse(hs, rc == -EBUSY ? NBD_REP_ERR_POLICY : NBD_REP_ERR_SHUTDOWN, e.msg);
        return;
    }
    put_infos(hs, &go, export);
    acknowledge(hs);
    if (enter) {
        enter_transmission(hs, export, go.name);
    }
}

static void put_server(void *ctx, const char *name, const char *description)
{
    struct nbd_handshake *hs = ctx;

    nbd_option_server_put(&hs->out, hs->option, name, description);
}

static void on_list(struct nbd_handshake *hs, struct slice data)
{
    const struct nbd_exports_ops *ops = hs->exports->ops;
    struct err e;

    if (data.len != 0) {
        refuse(hs, NBD_REP_ERR_INVALID, "NBD_OPT_LIST takes no data");
        return;
    }
    hs->held =
        ops->missing != NULL && !hs->impatient && ops->missing(hs->exports, NULL, &e) == ERR_BUSY;
    if (hs->held) {
        return;
    }
    ops->list(hs->exports, put_server, hs);
    acknowledge(hs);
}

static void on_structured_reply(struct nbd_handshake *hs, struct slice data)
{
    if (data.len != 0) {
        refuse(hs, NBD_REP_ERR_INVALID, "NBD_OPT_STRUCTURED_REPLY takes no data");
        return;
    }
    hs->structured = true;
    acknowledge(hs);
}

static void on_meta_context(struct nbd_handshake *hs, struct slice data)
{
    bool listing = hs->option == NBD_OPT_LIST_META_CONTEXT;
    struct nbd_option_meta meta;
    struct err e;
    int rc;

    if (!listing) { /* a SET replaces what was set before, also when it fails */
        free(hs->context_name);
        hs->context_name = NULL;
    }
    if (!hs->structured) {
        refuse(hs, NBD_REP_ERR_INVALID, "negotiate structured replies first");
        return;
    }
    rc = nbd_option_meta_decode(&meta, data, listing);
    if (rc != 0) {
        refuse_bad(hs, rc);
        return;
    }
    if (find_export(hs, meta.name, &e) == NULL) {
        refuse_missing(hs, &e);
        return;
    }
    if (meta.allocation) {
        nbd_option_context_put(&hs->out, hs->option, listing ? 0 : NBD_CONTEXT_ALLOCATION,
                               "base:allocation");
        if (!listing) {
            hs->context_name = mem_alloc(meta.name.len + 1);
            if (meta.name.len != 0) {
                memcpy(hs->context_name, meta.name.data, meta.name.len);
            }
            hs->context_name[meta.name.len] = '\0';
        }
    }
    acknowledge(hs);
}

static void answer(struct nbd_handshake *hs, struct slice data)
{
    switch (hs->option) {
    case NBD_OPT_EXPORT_NAME:
        on_export_name(hs, data);
        break;
    case NBD_OPT_ABORT:
        acknowledge(hs);
        hs->state = NBD_HANDSHAKE_CLOSE;
        break;
    case NBD_OPT_LIST:
        on_list(hs, data);
        break;
    case NBD_OPT_STARTTLS:
        refuse(hs, data.len != 0 ? NBD_REP_ERR_INVALID : NBD_REP_ERR_POLICY,
               data.len != 0 ? "NBD_OPT_STARTTLS takes no data" : "TLS is not configured here");
        break;
    case NBD_OPT_INFO:
    case NBD_OPT_GO:
        on_go(hs, data);
        break;
    case NBD_OPT_STRUCTURED_REPLY:
        on_structured_reply(hs, data);
        break;
    case NBD_OPT_LIST_META_CONTEXT:
    case NBD_OPT_SET_META_CONTEXT:
        on_meta_context(hs, data);
        break;
    default:
        refuse(hs, NBD_REP_ERR_UNSUP, "option not supported");
        break;
    }
}

static size_t take_flags(struct nbd_handshake *hs, const uint8_t *data, size_t bytes)
{
    uint32_t flags;

    if (bytes < NBD_CLIENT_FLAGS_BYTES) {
        return 0;
    }
    flags = get_u32be(data);
    hs->fixed = (flags & NBD_FLAG_C_FIXED_NEWSTYLE) != 0;
    hs->no_zeroes = (flags & NBD_FLAG_C_NO_ZEROES) != 0;
    if ((flags & ~(uint32_t)(NBD_FLAG_C_FIXED_NEWSTYLE | NBD_FLAG_C_NO_ZEROES)) != 0) {
        close_with(hs, ERR_PROTOCOL, "unknown client flags");
    } else {
        hs->state = NBD_HANDSHAKE_OPTIONS;
    }
    return NBD_CLIENT_FLAGS_BYTES;
}

static size_t take_option(struct nbd_handshake *hs, const uint8_t *data, size_t bytes)
{
    struct nbd_option option;

    if (bytes < NBD_OPTION_HEAD_BYTES) {
        return 0;
    }
    if (nbd_option_decode(&option, data) != 0) {
        close_with(hs, ERR_PROTOCOL, "bad magic of an option");
        return NBD_OPTION_HEAD_BYTES;
    }
    hs->option = option.option;
    if (!hs->fixed && option.option != NBD_OPT_EXPORT_NAME) {
        close_with(hs, ERR_PROTOCOL, "an option that needs the fixed newstyle handshake");
        return NBD_OPTION_HEAD_BYTES;
    }
    if (option.bytes > NBD_OPTION_BYTES_MAX) {
        hs->skip_bytes = option.bytes;
        hs->state = NBD_HANDSHAKE_SKIP;
        return NBD_OPTION_HEAD_BYTES;
    }
    if (bytes - NBD_OPTION_HEAD_BYTES < option.bytes) {
        return 0;
    }
    answer(hs, slice_of(data + NBD_OPTION_HEAD_BYTES, option.bytes));
    if (hs->held) {
        return 0;
    }
    return NBD_OPTION_HEAD_BYTES + option.bytes;
}

static size_t take_skipped(struct nbd_handshake *hs, size_t bytes)
{
    size_t taken = bytes < hs->skip_bytes ? bytes : hs->skip_bytes;

    hs->skip_bytes -= (uint32_t)taken;
    if (hs->skip_bytes != 0) {
        return taken;
    }
    if (hs->option == NBD_OPT_EXPORT_NAME) {
        close_with(hs, ERR_TOO_LARGE, "NBD_OPT_EXPORT_NAME with a bad name");
    } else {
        refuse(hs, NBD_REP_ERR_TOO_BIG, "option of more than 16384 bytes");
        hs->state = NBD_HANDSHAKE_OPTIONS;
    }
    return taken;
}

size_t nbd_handshake_take(struct nbd_handshake *hs, const uint8_t *data, size_t bytes)
{
    hs->held = false;
    switch (hs->state) {
    case NBD_HANDSHAKE_FLAGS:
        return take_flags(hs, data, bytes);
    case NBD_HANDSHAKE_OPTIONS:
        return take_option(hs, data, bytes);
    case NBD_HANDSHAKE_SKIP:
        return take_skipped(hs, bytes);
    case NBD_HANDSHAKE_DONE:
    case NBD_HANDSHAKE_CLOSE:
        break;
    }
    CHECK(false);
    return 0;
}
