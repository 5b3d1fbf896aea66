/* What a program does with objects: put, read a piece, change several at once, list, delete.
 *
 *     cc objects.c -o objects $(pkg-config --cflags --libs albacore)
 *     ./objects tcp://127.0.0.1:10000 [more proxies]
 */
#include <albacore/albacore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(int rc, const char *what, const struct albacore_error *e)
{
    if (rc != ALBACORE_OK) {
        fprintf(stderr, "%s: %s\n", what, e->text);
        exit(1);
    }
}

static void put_and_read(struct albacore *client, const char *ns)
{
    static char data[1 << 20];
    char piece[12] = {0};
    struct albacore_slice slice = {.offset = 500000, .bytes = 11, .data = piece};
    struct albacore_error e;

    memcpy(data + 500000, "hello world", 11);
    check(albacore_put(client, ns, "greeting", data, sizeof(data), NULL, &e), "put", &e);
    check(albacore_read(client, ns, "greeting", &slice, 1, NULL, &e), "read", &e);
    printf("bytes 500000 to 500010 are \"%s\"\n", piece);
}

/* Both objects appear, or neither; and only as long as nobody has made "a" before. */
static void change_two_at_once(struct albacore *client, const char *ns)
{
    struct albacore_transaction *t = albacore_transaction_new();
    struct albacore_error e;
    int rc;

    albacore_assert_absent(t, "a");
    albacore_add_put(t, "a", "1", 1);
    albacore_add_put(t, "b", "2", 1);
    check(albacore_apply(client, ns, t, NULL, &e), "apply", &e);

    rc = albacore_apply(client, ns, t, NULL, &e);
    if (rc == ALBACORE_ASSERT_FAILED) {
        printf("a second time fails because of \"%s\"\n", albacore_failed_name(t));
    }
    albacore_transaction_free(t);
}

static void list_and_delete(struct albacore *client, const char *ns)
{
    struct albacore_names *names;
    struct albacore_error e;

    check(albacore_list(client, ns, NULL, &names, NULL, &e), "list", &e);
    for (size_t i = 0; i < albacore_names_count(names); i++) {
        const char *name = albacore_names_at(names, i, NULL);

        printf("object \"%s\"\n", name);
        check(albacore_delete(client, ns, name, NULL, &e), "delete", &e);
    }
    albacore_names_free(names);
}

int main(int argc, char **argv)
{
    struct albacore_options options = albacore_options_init();
    struct albacore_counters counters = {.size = sizeof(counters)};
    struct albacore *client;
    struct albacore_error e;

    options.proxies = (const char *const *)(argv + 1);
    options.proxy_count = argc > 1 ? (size_t)argc - 1 : 0;
    check(albacore_connect(&options, &client, &e), "connect", &e);

    check(albacore_namespace_create(client, "example", NULL, NULL, &e), "create", &e);
    put_and_read(client, "example");
    change_two_at_once(client, "example");
    list_and_delete(client, "example");
    check(albacore_namespace_delete(client, "example", NULL, &e), "delete namespace", &e);

    albacore_counters(client, &counters);
    printf("%llu reads from the disks, %llu through a proxy\n",
           (unsigned long long)counters.direct_reads, (unsigned long long)counters.proxy_reads);
    albacore_close(client);
    return 0;
}
