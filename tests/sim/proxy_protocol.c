/* The proxy's server over the same world, spoken to through real sockets: every command and its
 * codes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "loop/run.h"
#include "proxy/session.h"
#include "sim/proxy_fixture.h"
#include "wire/osd_keys.h"

/* ---- namespaces ---- */

static int32_t create(struct fixture *f, const char *name, const char *preset)
{
    struct proxy_request request = {
        .code = PROXY_CREATE_NAMESPACE,
        .ns = slice_str(name),
        .create = {.has_preset = preset != NULL, .preset = slice_str(preset ? preset : "")}};

    return fixture_simple(f, &request);
}

static void expect_namespaces(struct fixture *f, struct proxy_range range, const char *expected,
                              bool more)
{
    struct proxy_request request = {.code = PROXY_LIST_NAMESPACES, .range = range};
    struct buf names = {0};
    struct call c;

    assert_int_equal(fixture_call(f, &request, &c), 0);
    for (uint32_t i = 0; i < c.reply.namespaces.count; i++) {
        buf_put(&names, c.reply.namespaces.items[i].name.data,
                c.reply.namespaces.items[i].name.len);
        buf_put_u8(&names, ' ');
    }
    buf_put_u8(&names, 0);
    assert_string_equal((const char *)names.data, expected);
    assert_int_equal(c.reply.namespaces.more, more);
    buf_release(&names);
    fixture_call_release(&c);
}

static void namespaces_are_made_listed_and_deleted(void **state)
{
    struct fixture *f = fixture_new(1);
    struct proxy_request exists = {.code = PROXY_NAMESPACE_EXISTS, .ns = slice_str("b")};
    struct proxy_request delete = {.code = PROXY_DELETE_NAMESPACE, .ns = slice_str("b")};
    struct proxy_request list2 = {.code = PROXY_LIST_NAMESPACES2, .range = {.max = -1}};
    struct call c;

    (void)state;
    assert_int_equal(create(f, "b", "p"), 0);
    assert_int_equal(create(f, "c", NULL), 0);
    assert_int_equal(create(f, "d", "p"), 0);
    assert_int_equal(create(f, "b", "p"), PROXY_RC_NAMESPACE_EXISTS);
    assert_int_equal(create(f, "e", "nonesuch"), PROXY_RC_PRESET_NOT_FOUND);
    expect_namespaces(f, (struct proxy_range){.max = -1}, "b c d ns ", false);
    expect_namespaces(f, (struct proxy_range){.max = 2}, "b c ", true);
    expect_namespaces(
        f,
        (struct proxy_range){
            .first = slice_str("c"), .first_included = true, .max = -1, .reverse = true},
        "c b ", false);
    expect_namespaces(f,
                      (struct proxy_range){.first = slice_str("c"),
                                           .has_last = true,
                                           .last = slice_str("ns"),
                                           .last_included = false,
                                           .max = -1},
                      "d ", false);
    expect_namespaces(f, (struct proxy_range){.first = slice_str("zz"), .max = 1, .reverse = true},
                      "ns ", true);
    assert_int_equal(fixture_call(f, &list2, &c), 0);
    assert_int_equal(c.reply.namespaces.count, 4);
    assert_true(slice_eq(c.reply.namespaces.items[1].preset, slice_str("default")));
    fixture_call_release(&c);
    assert_int_equal(fixture_call(f, &exists, &c), 0);
    assert_true(c.reply.yes);
    fixture_call_release(&c);
    assert_int_equal(fixture_simple(f, &delete), 0);
    assert_int_equal(fixture_simple(f, &delete), PROXY_RC_NAMESPACE_NOT_FOUND);
    assert_int_equal(fixture_call(f, &exists, &c), 0);
    assert_false(c.reply.yes);
    fixture_call_release(&c);
    fixture_free(f);
}

static void everything_in_a_namespace_that_is_not_there_says_so(void **state)
{
    struct fixture *f = fixture_new(1);
    struct slice names[] = {slice_str("o")};
    struct proxy_object_slices slices = {.name = slice_str("o")};
    struct proxy_update update = {.kind = PROXY_UPDATE_UPLOAD, .name = slice_str("o")};
    struct proxy_request requests[] = {
        {.code = PROXY_LIST_OBJECTS, .range = {.max = -1}},
        {.code = PROXY_DELETE_OBJECT, .object = {.name = slice_str("o")}},
        {.code = PROXY_GET_OBJECT_INFO, .object = {.name = slice_str("o")}},
        {.code = PROXY_READ_SLICES, .reads = {.items = &slices, .count = 1}},
        {.code = PROXY_READ_SLICES2, .reads = {.items = &slices, .count = 1}},
        {.code = PROXY_APPLY_SEQUENCE, .apply = {.updates = &update, .update_count = 1}},
        {.code = PROXY_APPLY, .apply = {.updates = &update, .update_count = 1}},
        {.code = PROXY_READ_OBJECTS, .names = {.items = names, .count = 1}},
        {.code = PROXY_MULTI_EXISTS, .names = {.items = names, .count = 1}},
        {.code = PROXY_DELETE_NAMESPACE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(requests) / sizeof(*requests); i++) {
        requests[i].ns = slice_str("nonesuch");
        assert_int_equal(fixture_simple(f, &requests[i]), PROXY_RC_NAMESPACE_NOT_FOUND);
    }
    fixture_free(f);
}

/* ---- objects ---- */

static void objects_are_put_read_listed_and_deleted(void **state)
{
    struct fixture *f = fixture_new(1);
    uint8_t *data = mem_alloc(100000);
    struct slice names[] = {slice_str("a"), slice_str("x"), slice_str("b")};
    struct proxy_slice cuts[] = {{.offset = 10, .bytes = 20000}, {.offset = 90000, .bytes = 5}};
    struct proxy_object_slices objects[] = {
        {.name = slice_str("a"), .slices = cuts, .slice_count = 2},
        {.name = slice_str("b"), .slices = cuts, .slice_count = 1}};
    struct proxy_request list = {
        .code = PROXY_LIST_OBJECTS, .ns = fixture_ns(), .range = {.max = -1}};
    struct proxy_request info = {
        .code = PROXY_GET_OBJECT_INFO, .ns = fixture_ns(), .object = {.name = slice_str("a")}};
    struct proxy_request exists = {
        .code = PROXY_MULTI_EXISTS, .ns = fixture_ns(), .names = {.items = names, .count = 3}};
    struct proxy_request read = {
        .code = PROXY_READ_OBJECTS, .ns = fixture_ns(), .names = {.items = names, .count = 3}};
    struct proxy_request slices = {
        .code = PROXY_READ_SLICES2, .ns = fixture_ns(), .reads = {.items = objects, .count = 2}};
    struct proxy_request delete = {
        .code = PROXY_DELETE_OBJECT, .ns = fixture_ns(), .object = {.name = slice_str("a")}};
    struct call c;

    (void)state;
    world_fill(f->w, data, 100000);
    assert_int_equal(fixture_put(f, "a", data, 100000), 0);
    assert_int_equal(fixture_put(f, "b", data, 50000), 0);
    assert_int_equal(fixture_call(f, &list, &c), 0);
    assert_int_equal(c.reply.names.count, 2);
    assert_true(slice_eq(c.reply.names.items[1], slice_str("b")));
    fixture_call_release(&c);
    assert_int_equal(fixture_call(f, &info, &c), 0);
    assert_int_equal(c.reply.info.size_bytes, 100000);
    assert_int_equal(c.reply.info.checksum.algo, CHECKSUM_CRC32C);
    fixture_call_release(&c);
    assert_int_equal(fixture_call(f, &exists, &c), 0);
    assert_true(c.reply.exists.items[0] && !c.reply.exists.items[1] && c.reply.exists.items[2]);
    fixture_call_release(&c);
    assert_int_equal(fixture_call(f, &read, &c), 0);
    assert_int_equal(c.reply.read.namespace_id, f->w->ns_id);
    assert_true(c.reply.read.items[0].found && !c.reply.read.items[1].found);
    assert_int_equal(c.reply.read.items[2].data.len, 50000);
    assert_memory_equal(c.reply.read.items[0].data.data, data, 100000);
    assert_memory_equal(c.reply.read.items[2].data.data, data, 50000);
    fixture_call_release(&c);
    assert_int_equal(fixture_call(f, &slices, &c), 0);
    assert_int_equal(c.reply.objects.data.len, 40005);
    assert_memory_equal(c.reply.objects.data.data, data + 10, 20000);
    assert_memory_equal(c.reply.objects.data.data + 20000, data + 90000, 5);
    assert_int_equal(c.reply.objects.count, 2);
    assert_true(slice_eq(c.reply.objects.items[0].name, slice_str("a")));
    assert_int_equal(c.reply.objects.items[0].manifest->size_bytes, 100000);
    fixture_call_release(&c);
    assert_int_equal(fixture_simple(f, &delete), 0);
    assert_int_equal(fixture_simple(f, &delete), PROXY_RC_OBJECT_NOT_FOUND);
    delete.object.may_not_exist = true;
    assert_int_equal(fixture_simple(f, &delete), 0);
    assert_int_equal(fixture_simple(f, &info), PROXY_RC_OBJECT_NOT_FOUND);
    free(data);
    fixture_free(f);
}

static void a_transaction_is_whole_or_not_at_all(void **state)
{
    struct fixture *f = fixture_new(1);
    struct proxy_assert asserts[] = {
        {.kind = PROXY_ASSERT_EXISTS, .name = slice_str("old")},
        {.kind = PROXY_ASSERT_ABSENT, .name = slice_str("new1")},
    };
    struct proxy_update updates[] = {
        {.kind = PROXY_UPDATE_UPLOAD, .name = slice_str("new1"), .data = slice_str("one")},
        {.kind = PROXY_UPDATE_UPLOAD, .name = slice_str("new2"), .data = slice_str("two")},
        {.kind = PROXY_UPDATE_DELETE, .name = slice_str("old")},
    };
    struct proxy_request sequence = {
        .code = PROXY_APPLY_SEQUENCE,
        .ns = fixture_ns(),
        .apply = {.asserts = asserts, .assert_count = 2, .updates = updates, .update_count = 3}};
    struct proxy_request empty = {.code = PROXY_APPLY_SEQUENCE, .ns = fixture_ns()};
    struct call c;

    (void)state;
    assert_int_equal(fixture_call(f, &sequence, &c), PROXY_RC_ASSERT_FAILED);
    assert_non_null(strstr(c.text, "old"));
    fixture_call_release(&c);
    assert_int_equal(fixture_put(f, "old", "x", 1), 0);
    assert_int_equal(fixture_call(f, &sequence, &c), 0);
    assert_int_equal(c.reply.objects.count, 2);
    assert_true(slice_eq(c.reply.objects.items[1].manifest->name, slice_str("new2")));
    fixture_call_release(&c);
    assert_int_equal(fixture_simple(f, &sequence), PROXY_RC_ASSERT_FAILED);
    world_expect(f->w, "new1", "one", 3);
    world_expect(f->w, "new2", "two", 3);
    assert_int_equal(fixture_simple(f, &empty), 0);
    sequence.apply.assert_count = 0;
    updates[1].name = slice_str("new1");
    assert_int_equal(fixture_simple(f, &sequence), PROXY_RC_BAD_ARGUMENT); /* named twice */
    fixture_free(f);
}

/* Before anything is looked at: not even the namespace is asked for. */
static void a_transaction_of_very_many_parts_is_too_large(void **state)
{
    static struct proxy_update updates[PROXY_APPLY_COUNT_MAX + 1];
    struct fixture *f = fixture_new(0);
    struct proxy_request request = {
        .code = PROXY_APPLY_SEQUENCE, .ns = slice_str("nowhere"), .apply = {.updates = updates}};

    (void)state;
    for (size_t i = 0; i <= PROXY_APPLY_COUNT_MAX; i++) {
        updates[i] = (struct proxy_update){.kind = PROXY_UPDATE_DELETE, .name = slice_str("o")};
    }
    request.apply.update_count = PROXY_APPLY_COUNT_MAX + 1;
    assert_int_equal(fixture_simple(f, &request), PROXY_RC_TOO_LARGE);
    request.apply.update_count = PROXY_APPLY_COUNT_MAX;
    assert_int_equal(fixture_simple(f, &request), PROXY_RC_NAMESPACE_NOT_FOUND);
    fixture_free(f);
}

/* ---- files ---- */

static char *write_file(struct fixture *f, const char *name, const void *data, size_t bytes)
{
    char *path = mem_printf("%s/%s", f->real_dir, name);
    FILE *file = fopen(path, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
    return path;
}

static struct proxy_request fs_request(uint32_t code, const char *name, const char *path)
{
    return (struct proxy_request){.code = code,
                                  .ns = fixture_ns(),
                                  .object = {.name = slice_str(name), .file = slice_str(path)}};
}

static void files_go_in_and_come_out_whole(void **state)
{
    struct fixture *f = fixture_new(1);
    size_t bytes = 3000000, got_bytes;
    uint8_t *data = mem_alloc(bytes), *got = mem_alloc(bytes + 1);
    char *in, *out = mem_printf("%s/out", f->real_dir);
    struct proxy_request write, read;
    struct call c;
    FILE *file;

    (void)state;
    world_fill(f->w, data, bytes);
    in = write_file(f, "in", data, bytes);
    write = fs_request(PROXY_WRITE_OBJECT_FS, "o", in);
    read = fs_request(PROXY_READ_OBJECT_FS, "o", out);
    assert_int_equal(fixture_simple(f, &write), 0);
    assert_int_equal(fixture_simple(f, &write), PROXY_RC_OVERWRITE_NOT_ALLOWED);
    write.code = PROXY_WRITE_OBJECT_FS2;
    write.object.allow_overwrite = true;
    assert_int_equal(fixture_call(f, &write, &c), 0);
    assert_int_equal(c.reply.objects.items[0].manifest->size_bytes, bytes);
    fixture_call_release(&c);
    assert_int_equal(fixture_simple(f, &read), 0);
    file = fopen(out, "rb");
    assert_non_null(file);
    got_bytes = fread(got, 1, bytes + 1, file);
    fclose(file);
    assert_int_equal(got_bytes, bytes);
    assert_memory_equal(got, data, bytes);
    free(in);
    free(out);
    free(data);
    free(got);
    fixture_free(f);
}

/* Jobs that hold up the proxy's pool. */
struct job {
    struct pool_work work;
    uv_sem_t *go;
};

static void job_run(struct pool_work *work)
{
    uv_sem_wait(container_of(work, struct job, work)->go);
}

static void job_done(struct pool_work *work, int rc)
{
    (void)work;
    assert_int_equal(rc, 0);
}

static void on_share(struct budget_share *share)
{
    (void)share;
}

static bool somebody_waits_for_memory(void *engine)
{
    return ((const struct engine *)engine)->budget.waiting_count != 0;
}

static bool has_queued_work(void *engine)
{
    const struct engine *e = engine;

    return pool_load(e->pool) > e->options.threads;
}

static bool has_ended(void *ctx)
{
    const struct fixture *f = ctx;

    return f->server->running == 0 && pool_load(f->w->engine->pool) == 0;
}

/* Looked at twice behind its deadline, as the server does now and then. */
static void look_at_the_deadline(struct proxy_server *server)
{
    struct session *s = NULL;

    LIST_FOR_EACH (it, &server->sessions) {
        s = container_of(it, struct session, link);
    }
    assert_non_null(s);
    session_check(s, s->deadline_ms);
    session_check(s, s->deadline_ms);
}

/* Its deadline comes when the file has its name already, or when that waits for its turn. (Of an
 * empty object the file's name is all that is left to do when there is memory.) */
static int32_t read_file_at_the_deadline(struct fixture *f, const char *path, bool is_begun)
{
    struct engine *engine = f->w->engine;
    struct proxy_request read = fs_request(PROXY_READ_OBJECT_FS, "o", path);
    struct call c = {.code = PROXY_READ_OBJECT_FS};
    struct budget_share all = {0};
    struct job jobs[16];
    unsigned threads = engine->options.threads;
    uv_sem_t go;

    assert_true(threads <= 16);
    assert_int_equal(uv_sem_init(&go, 0), 0);
    budget_take(&engine->budget, &all, engine->budget.limit_bytes, on_share);
    proxy_request_encode(&read, &c.request);
    assert_int_equal(proxy_client_call(f->client, &c.call, &c.request, 20000, fixture_on_call), 0);
    loop_run_until_true(&f->w->base.loop, somebody_waits_for_memory, engine);
    for (unsigned i = 0; i < threads; i++) {
        jobs[i].go = &go;
        assert_int_equal(pool_submit(engine->pool, &jobs[i].work, POOL_HIGH, job_run, job_done), 0);
    }
    budget_give(&all);
    loop_run_until_true(&f->w->base.loop, has_queued_work, engine);
    if (!is_begun) {
        look_at_the_deadline(f->server);
    }
    for (unsigned i = 0; i < threads; i++) {
        uv_sem_post(&go);
    }
    while (is_begun && access(path, F_OK) != 0) { /* the loop does not run: it cannot hear of it */
        uv_sleep(1);
    }
    if (is_begun) {
        look_at_the_deadline(f->server);
    }
    loop_fixture_run_until(&f->w->base, &c.done);
    loop_run_until_true(&f->w->base.loop, has_ended, f);
    uv_sem_destroy(&go);
    gather_release(&c.request);
    fixture_call_release(&c);
    return c.proxy_code;
}

static void a_file_that_appears_at_the_deadline_is_not_told_as_not_executed(void **state)
{
    struct fixture *f = fixture_new(1);
    char *path = mem_printf("%s/out", f->real_dir);

    (void)state;
    assert_int_equal(fixture_put(f, "o", "", 0), 0);
    assert_int_equal(read_file_at_the_deadline(f, path, false), PROXY_RC_TIMED_OUT);
    assert_int_equal(access(path, F_OK), -1); /* nor will it */
    assert_int_equal(read_file_at_the_deadline(f, path, true), PROXY_RC_IN_DOUBT);
    assert_int_equal(access(path, F_OK), 0);
    free(path);
    fixture_free(f);
}

static void a_file_whose_last_step_finds_no_place_in_the_pool_does_not_appear(void **state)
{
    struct fixture *f = fixture_new(1);
    struct engine *engine = f->w->engine;
    char *path = mem_printf("%s/out", f->real_dir);
    struct proxy_request read = fs_request(PROXY_READ_OBJECT_FS, "o", path);
    struct call c = {.code = PROXY_READ_OBJECT_FS};
    struct job *jobs = mem_array(ENGINE_POOL_QUEUE_MAX, sizeof(*jobs));
    struct budget_share all = {0};
    uv_sem_t go;

    (void)state;
    assert_int_equal(fixture_put(f, "o", "", 0), 0);
    assert_int_equal(uv_sem_init(&go, 0), 0);
    budget_take(&engine->budget, &all, engine->budget.limit_bytes, on_share);
    proxy_request_encode(&read, &c.request);
    assert_int_equal(proxy_client_call(f->client, &c.call, &c.request, 20000, fixture_on_call), 0);
    loop_run_until_true(&f->w->base.loop, somebody_waits_for_memory, engine);
    for (unsigned i = 0; i < ENGINE_POOL_QUEUE_MAX; i++) {
        jobs[i].go = &go;
        assert_int_equal(pool_submit(engine->pool, &jobs[i].work, POOL_HIGH, job_run, job_done), 0);
    }
    budget_give(&all);
    loop_fixture_run_until(&f->w->base, &c.done);
    assert_int_equal(c.proxy_code, PROXY_RC_UNKNOWN);
    for (unsigned i = 0; i < ENGINE_POOL_QUEUE_MAX; i++) {
        uv_sem_post(&go);
    }
    loop_run_until_true(&f->w->base.loop, has_ended, f);
    assert_int_equal(access(path, F_OK), -1);
    uv_sem_destroy(&go);
    gather_release(&c.request);
    fixture_call_release(&c);
    free(jobs);
    free(path);
    fixture_free(f);
}

static void files_outside_the_allowed_directories_are_refused_by_rule(void **state)
{
    struct fixture *f = fixture_new(1);
    char *inside = write_file(f, "in", "x", 1);
    char *dots = mem_printf("%s/../%s", f->real_dir, "etc-passwd-not");
    char *link = mem_printf("%s/link", f->real_dir);
    char *missing = mem_printf("%s/missing", f->real_dir);
    const char *bad[] = {"/etc/passwd", "relative", "", dots, link};
    struct proxy_request write, read;
    struct call c;

    (void)state;
    assert_int_equal(symlink("/etc/passwd", link), 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        write = fs_request(PROXY_WRITE_OBJECT_FS, "o", bad[i]);
        read = fs_request(PROXY_READ_OBJECT_FS, "o", bad[i]);
        assert_int_not_equal(fixture_simple(f, &write), 0);
        if (strcmp(bad[i], link) != 0) { /* a link is replaced, not followed */
            assert_int_not_equal(fixture_simple(f, &read), 0);
        }
    }
    write = fs_request(PROXY_WRITE_OBJECT_FS, "o", "/etc/passwd");
    fixture_call(f, &write, &c);
    assert_non_null(strstr(c.text, "fs_dirs"));
    write = fs_request(PROXY_WRITE_OBJECT_FS, "o", missing);
    assert_int_equal(fixture_simple(f, &write), PROXY_RC_FILE_NOT_FOUND);
    write = fs_request(PROXY_WRITE_OBJECT_FS, "o", inside);
    assert_int_equal(fixture_simple(f, &write), 0);
    free(inside);
    free(dots);
    free(link);
    free(missing);
    fixture_free(f);
    f = fixture_new(0);
    write = fs_request(PROXY_WRITE_OBJECT_FS, "o", "/tmp/x");
    fixture_call(f, &write, &c);
    assert_non_null(strstr(c.text, "fs_dirs"));
    fixture_free(f);
}

/* ---- about the proxy ---- */

static void the_proxy_tells_about_itself_and_its_osds(void **state)
{
    struct fixture *f = fixture_new(1);
    const char *alba_id = registry_view_alba_id(registry_view(f->w->registry));
    struct proxy_request request = {.code = PROXY_GET_ALBA_ID};
    struct call c;

    (void)state;
    assert_int_equal(fixture_call(f, &request, &c), 0);
    assert_true(slice_eq(c.reply.text, slice_str(alba_id)));
    fixture_call_release(&c);
    for (uint32_t code = PROXY_OSD_INFO; code <= PROXY_OSD_INFO2; code += 6) {
        request.code = code;
        assert_int_equal(fixture_call(f, &request, &c), 0);
        assert_int_equal(c.reply.albas.count, 1);
        assert_int_equal(c.reply.albas.items[0].osd_count, 6);
        assert_int_equal(c.reply.albas.items[0].osds[0].info.kind, OSD_KIND_ASD);
        assert_true(c.reply.albas.items[0].osds[0].info.port > 0);
        fixture_call_release(&c);
    }
    request.code = PROXY_OSD_VIEW;
    assert_int_equal(fixture_call(f, &request, &c), 0);
    assert_int_equal(c.reply.view.claim_count, 6);
    assert_int_equal(c.reply.view.state_count, 6);
    assert_non_null(memmem(c.reply.view.states[0].info_json.data,
                           c.reply.view.states[0].info_json.len, "\"AsdV1\"", 7));
    fixture_call_release(&c);
    request.code = PROXY_HAS_LOCAL_FRAGMENT_CACHE;
    assert_int_equal(fixture_call(f, &request, &c), 0);
    assert_false(c.reply.yes);
    fixture_call_release(&c);
    request.code = PROXY_GET_VERSION;
    assert_int_equal(fixture_simple(f, &request), 0);
    request.code = PROXY_GET_CLIENT_CONFIG;
    assert_int_equal(fixture_call(f, &request, &c), 0);
    assert_true(slice_eq(c.reply.client_config.cluster_id, slice_str(alba_id)));
    fixture_call_release(&c);
    request = (struct proxy_request){.code = PROXY_PING, .delay_s = 0.05};
    assert_int_equal(fixture_call(f, &request, &c), 0);
    assert_true(c.reply.time_s > 1e9);
    fixture_call_release(&c);
    request.delay_s = -1;
    assert_int_not_equal(fixture_simple(f, &request), 0);
    request = (struct proxy_request){
        .code = PROXY_GET_FRAGMENT_KEY,
        .key = {.alba_id = slice_str(alba_id), .namespace_id = (int64_t)f->w->ns_id}};
    assert_int_equal(fixture_call(f, &request, &c), 0);
    assert_false(c.reply.key.has_key);
    fixture_call_release(&c);
    fixture_free(f);
}

static enum fake_fate hang(void *asked, struct fake_asd *asd, const struct asd_request *request)
{
    (void)asd;
    (void)request;
    *(bool *)asked = true;
    return FAKE_HANG;
}

static void expect_claim(const struct proxy_reply *reply, const char *long_id, uint8_t kind,
                         const char *owner)
{
    for (uint32_t i = 0; i < reply->view.claim_count; i++) {
        const struct proxy_claim *c = &reply->view.claims[i];

        if (slice_eq(c->long_id, slice_str(long_id))) {
            assert_int_equal(c->claim.kind, kind);
            assert_true(kind != OSD_CLAIM_ANOTHER || slice_eq(c->claim.alba_id, slice_str(owner)));
            return;
        }
    }
    fail_msg("no claim of %s", long_id);
}

static void an_osd_that_another_alba_claimed_is_told_as_its(void **state)
{
    struct fixture *f = fixture_new(1);
    struct proxy_request request = {.code = PROXY_OSD_VIEW};
    struct fake_asd *foreign = world_register_asd(f->w, "foreign", "n9");
    struct fake_asd *half = world_register_asd(f->w, "half-claimed", "n9");
    struct fake_asd *silent = world_register_asd(f->w, "silent", "n9");
    bool asked = false;
    struct buf log = {0};
    struct call c;

    (void)state;
    world_register_asd(f->w, "free", "n9");
    osd_key_put_instance_log(&log);
    fake_asd_put(foreign, slice_buf(&log), slice_str("somebody-else"));
    fake_asd_put(half, slice_buf(&log),
                 slice_str(registry_view_alba_id(registry_view(f->w->registry))));
    fake_asd_set_fate(silent, hang, &asked);
    assert_int_equal(fixture_call(f, &request, &c), 0);
    assert_int_equal(c.reply.view.claim_count, 10);
    assert_int_equal(c.reply.view.state_count, 6);
    expect_claim(&c.reply, "foreign", OSD_CLAIM_ANOTHER, "somebody-else");
    expect_claim(&c.reply, "half-claimed", OSD_CLAIM_AVAILABLE, NULL); /* claim-osd ends it */
    expect_claim(&c.reply, "free", OSD_CLAIM_AVAILABLE, NULL);
    expect_claim(&c.reply, "silent", OSD_CLAIM_AVAILABLE, NULL);
    expect_claim(&c.reply, f->w->asds[0]->long_id, OSD_CLAIM_THIS, NULL);
    assert_true(asked);
    fixture_call_release(&c);
    buf_release(&log);
    fixture_free(f);
}

static void a_server_ends_while_it_asks_an_osd_that_is_silent(void **state)
{
    struct fixture *f = fixture_new(0);
    struct proxy_request request = {.code = PROXY_OSD_VIEW};
    struct call c = {.code = request.code};
    bool asked = false, closed = false;

    (void)state;
    fake_asd_set_fate(world_register_asd(f->w, "silent", "n9"), hang, &asked);
    proxy_request_encode(&request, &c.request);
    assert_int_equal(proxy_client_call(f->client, &c.call, &c.request, 20000, fixture_on_call), 0);
    loop_fixture_run_until(&f->w->base, &asked);
    proxy_server_close(f->server, fixture_on_closed, &closed);
    f->server = NULL;
    loop_fixture_run_until(&f->w->base, &closed);
    fixture_free(f);
    assert_true(c.done); /* with an answer, if the server still waited for it */
    fixture_call_release(&c);
    gather_release(&c.request);
}

static void statistics_count_by_namespace(void **state)
{
    struct fixture *f = fixture_new(1);
    struct slice forget[] = {fixture_ns()};
    struct proxy_request request = {.code = PROXY_STATISTICS};
    struct proxy_slice cut = {.offset = 0, .bytes = 100};
    struct proxy_object_slices object = {.name = slice_str("o"), .slices = &cut, .slice_count = 1};
    struct proxy_request read = {
        .code = PROXY_READ_SLICES, .ns = fixture_ns(), .reads = {.items = &object, .count = 1}};
    uint8_t data[1000] = {0};
    struct call c;

    (void)state;
    assert_int_equal(fixture_put(f, "o", data, sizeof(data)), 0);
    assert_int_equal(fixture_simple(f, &read), 0);
    assert_int_equal(fixture_call(f, &request, &c), 0);
    assert_int_equal(c.reply.statistics.count, 1);
    assert_true(slice_eq(c.reply.statistics.items[0].ns, fixture_ns()));
    assert_int_equal(c.reply.statistics.items[0].upload.n, 1);
    assert_int_equal(c.reply.statistics.items[0].partial_read_bytes.n, 1);
    fixture_call_release(&c);
    request.statistics.forget = forget;
    request.statistics.forget_count = 1;
    assert_int_equal(fixture_call(f, &request, &c), 0);
    assert_int_equal(c.reply.statistics.count, 0);
    fixture_call_release(&c);
    fixture_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(namespaces_are_made_listed_and_deleted),
        cmocka_unit_test(everything_in_a_namespace_that_is_not_there_says_so),
        cmocka_unit_test(objects_are_put_read_listed_and_deleted),
        cmocka_unit_test(a_transaction_is_whole_or_not_at_all),
        cmocka_unit_test(a_transaction_of_very_many_parts_is_too_large),
        cmocka_unit_test(files_go_in_and_come_out_whole),
        cmocka_unit_test(a_file_that_appears_at_the_deadline_is_not_told_as_not_executed),
        cmocka_unit_test(a_file_whose_last_step_finds_no_place_in_the_pool_does_not_appear),
        cmocka_unit_test(files_outside_the_allowed_directories_are_refused_by_rule),
        cmocka_unit_test(the_proxy_tells_about_itself_and_its_osds),
        cmocka_unit_test(an_osd_that_another_alba_claimed_is_told_as_its),
        cmocka_unit_test(a_server_ends_while_it_asks_an_osd_that_is_silent),
        cmocka_unit_test(statistics_count_by_namespace),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
