#include "unit/meta/nsm_fixture.h"

#include "base/rnd.h"
#include "meta/ns_keys.h"

void nsm_wait_cb(void *ctx, int rc, struct nsm_reply *reply)
{
    struct nsm_wait *w = ctx;

    assert_false(w->done);
    w->done = true;
    w->rc = rc;
    w->reply = reply;
    nsm_reply_take(reply);
}

void nsm_wait_release(struct nsm_wait *w)
{
    nsm_reply_free(w->reply);
    *w = (struct nsm_wait){0};
}

void await(struct nsm *nsm, struct nsm_wait *w)
{
    loop_run_until(kv_loop(nsm_kv(nsm)), &w->done);
}

int await_rc(struct nsm *nsm, struct nsm_wait *w)
{
    int rc;

    await(nsm, w);
    rc = w->rc;
    nsm_wait_release(w);
    return rc;
}

int setup_jitter(void **state, uint64_t seed, unsigned jitter)
{
    struct fixture *f = mem_zalloc(sizeof(*f));
    struct nsm_wait w = {0};

    assert_int_equal(uv_loop_init(&f->loop), 0);
    f->store = kv_mem_store_new(seed);
    kv_mem_store_jitter(f->store, jitter);
    f->kv_a = kv_mem_open(&f->loop, f->store);
    f->kv_b = kv_mem_open(&f->loop, f->store);
    f->a = nsm_new(f->kv_a);
    f->b = nsm_new(f->kv_b);
    nsm_namespace_setup(f->a, NS, nsm_wait_cb, &w);
    assert_int_equal(await_rc(f->a, &w), 0);
    *state = f;
    return 0;
}

int setup(void **state)
{
    return setup_jitter(state, 1, 1);
}

int teardown(void **state)
{
    struct fixture *f = *state;

    close_kv(f->kv_a);
    close_kv(f->kv_b);
    nsm_free(f->a);
    nsm_free(f->b);
    assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    kv_mem_store_free(f->store);
    free(f);
    return 0;
}

struct manifest *make(const char *name, uint64_t first_osd)
{
    struct manifest *m = mem_zalloc(sizeof(*m));
    uint8_t id[NSM_OBJECT_ID_BYTES];
    char content[64];

    snprintf(content, sizeof(content), "%s on %llu", name, (unsigned long long)first_osd);
    rnd_bytes(id, sizeof(id));
    manifest_set(&m->name, text(name));
    manifest_set(&m->object_id, slice_of(id, sizeof(id)));
    manifest_set(&m->preset, text("p"));
    m->size_bytes = 8192;
    m->checksum = checksum_crc32c((uint32_t)first_osd);
    m->scheme.k = 2;
    m->scheme.m = 1;
    m->scheme.c = 2;
    m->scheme.max_disks_per_node = 1;
    m->scheme.fragment_format = 1;
    m->scheme.codec = MANIFEST_CODEC_NONE;
    m->scheme.cipher = MANIFEST_CIPHER_NONE;
    m->scheme.block_bytes = 4096;
    m->gc_epoch = 1;
    manifest_alloc_chunks(m, 1);
    m->chunk_bytes[0] = 8192;
    for (uint32_t i = 0; i < 3; i++) {
        *manifest_fragment_at(m, 0, i) = (struct manifest_fragment){.has_osd = true,
                                                                    .osd_id = first_osd + i,
                                                                    .packed_bytes = 4096,
                                                                    .checksum = checksum_crc32c(i)};
    }
    return m;
}

void unmake(struct manifest *m)
{
    manifest_release(m);
    free(m);
}

void start(struct nsm *nsm, struct manifest *upload, const char *delete,
           const struct nsm_assert *asserts, size_t assert_count, struct nsm_wait *w)
{
    struct slice deleted = delete != NULL ? text(delete) : slice_of(NULL, 0);

    *w = (struct nsm_wait){0};
    nsm_apply(nsm, NS,
              &(struct nsm_sequence){.asserts = asserts,
                                     .assert_count = assert_count,
                                     .uploads = &upload,
                                     .upload_count = upload != NULL,
                                     .deletes = &deleted,
                                     .delete_count = delete != NULL,
                                     .timeout_ms = 1000},
              nsm_wait_cb, w);
    assert_false(w->done);
}

int put(struct nsm *nsm, struct manifest *m)
{
    struct nsm_wait w;

    start(nsm, m, NULL, NULL, 0, &w);
    return await_rc(nsm, &w);
}

int delete (struct nsm *nsm, const char *name)
{
    struct nsm_wait w;

    start(nsm, NULL, name, NULL, 0, &w);
    return await_rc(nsm, &w);
}

bool lookup(struct nsm *nsm, const char *name, uint8_t ret_id[NSM_OBJECT_ID_BYTES])
{
    struct nsm_wait w = {0};
    struct slice n = text(name);
    bool found;

    nsm_get(nsm, NS, &n, 1, nsm_wait_cb, &w);
    await(nsm, &w);
    assert_int_equal(w.rc, 0);
    assert_int_equal(w.reply->count, 1);
    found = w.reply->objects[0].found;
    if (found) {
        assert_true(slice_eq(w.reply->objects[0].manifest.name, n));
        memcpy(ret_id, w.reply->objects[0].manifest.object_id.data, NSM_OBJECT_ID_BYTES);
    }
    nsm_wait_release(&w);
    return found;
}

bool holds(struct nsm *nsm, const char *name, const struct manifest *m)
{
    uint8_t id[NSM_OBJECT_ID_BYTES];

    return lookup(nsm, name, id) && memcmp(id, m->object_id.data, sizeof(id)) == 0;
}

size_t count_kind(const struct fixture *f, char kind)
{
    struct key key;

    return kv_mem_count_prefix(f->store, ns_key_root(&key, NS, kind));
}

bool has_object(const struct fixture *f, const struct manifest *m)
{
    struct key key;

    return kv_mem_peek(f->store, ns_key_object(&key, NS, m->object_id), NULL);
}

bool has_obsolete(const struct fixture *f, const struct manifest *m)
{
    struct key key;

    return kv_mem_peek(f->store, ns_key_obsolete(&key, NS, m->object_id), NULL);
}

void expect_sound(const struct fixture *f, size_t live, size_t obsolete)
{
    assert_int_equal(count_kind(f, 'n'), live);
    assert_int_equal(count_kind(f, 'o'), live);
    assert_int_equal(count_kind(f, 'x'), obsolete);
}

/* ---- fates in a row ---- */

enum kv_mem_fate scripted(void *ctx, const struct kv_txn *txn)
{
    struct script *s = ctx;

    (void)txn;
    return s->used < s->count ? s->fates[s->used++] : KV_MEM_NORMAL;
}

/* ---- obsolete records ---- */

void obsolete_cb(void *ctx, int rc, struct nsm_obsolete_list *list)
{
    *(struct obsolete_wait *)ctx = (struct obsolete_wait){.done = true, .rc = rc, .list = list};
}

struct nsm_obsolete_list *obsoletes(struct nsm *nsm)
{
    struct obsolete_wait w = {0};

    nsm_obsolete_list(nsm, NS, slice_of(NULL, 0), 1000, obsolete_cb, &w);
    loop_run_until(kv_loop(nsm_kv(nsm)), &w.done);
    assert_int_equal(w.rc, 0);
    return w.list;
}

size_t expand_all(struct nsm *nsm)
{
    struct nsm_obsolete_list *list = obsoletes(nsm);
    size_t count = list->count;

    for (size_t i = 0; i < list->count; i++) {
        struct nsm_wait w = {0};

        nsm_obsolete_remove(nsm, NS, &list->items[i], nsm_wait_cb, &w);
        assert_int_equal(await_rc(nsm, &w), 0);
    }
    nsm_obsolete_list_free(list);
    return count;
}
