#include "alba/completion.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alba/deployment.h"
#include "alba/session.h"
#include "alba/verb.h"
#include "alba/words.h"
#include "base/mem.h"
#include "meta/registry_volume.h"

enum { VALUES_MAX = 1000 };

/* ---- the script ---- */

/* What it does, whatever the table says. Words are cut at blanks: bash cuts them at = and : too,
 * and wants only what stands behind the last of those back. */
static const char script_head[] =
    "# bash completion for alba. Made by `alba completion bash`: do not edit.\n"
    "_alba_values() # kind, beginning: into COMPREPLY\n"
    "{\n"
    "    local list=''\n"
    "    case $1 in\n"
    "    file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- \"$2\");;\n"
    "    dir) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- \"$2\");;\n"
    "    words:*) list=${1#words:} list=${list//,/$'\\n'};;\n"
    "    ?*) list=$(timeout 3 \"$_alba_program\" completion values \"$1\" $_alba_config "
    "2>/dev/null);;\n"
    "    esac\n"
    "    if [[ $list ]]; then\n"
    "        local value\n"
    "        COMPREPLY=()\n"
    "        while IFS= read -r value; do\n"
    "            if [[ $value == \"$2\"* ]]; then printf -v value %q \"$value\"; "
    "COMPREPLY+=(\"$value\"); fi\n"
    "        done <<< \"$list\"\n"
    "    fi\n"
    "}\n"
    "\n"
    "_alba()\n"
    "{\n"
    "    local line=${COMP_LINE:0:COMP_POINT} words=() cur='' kind='' option place=0 i\n"
    "    local _alba_program=$1 _alba_config='' opts='' kinds='' places=()\n"
    "    COMPREPLY=()\n"
    "    read -ra words <<< \"$line\"\n"
    "    if [[ $line != *[[:space:]] ]]; then cur=${words[-1]}; unset 'words[-1]'; fi\n"
    "    if (( ${#words[@]} < 2 )); then\n"
    "        mapfile -t COMPREPLY < <(compgen -W \"$_alba_verbs --help --version\" -- \"$cur\")\n"
    "        return\n"
    "    fi\n"
    "    _alba_verb \"${words[1]}\"\n"
    "    for (( i = 2; i < ${#words[@]}; i++ )); do\n"
    "        case ${words[i]} in\n"
    "        --config=*) _alba_config=${words[i]};;\n"
    "        --*=*) ;;\n"
    "        --config) _alba_config=--config=${words[++i]};;\n"
    "        -*) [[ \" $opts \" == *\" ${words[i]}= \"* ]] && (( i++ ));;\n"
    "        *) (( place++ ));;\n"
    "        esac\n"
    "    done\n"
    "    option=${words[-1]}=\n"
    "    if [[ $cur == --*=* ]]; then\n"
    "        option=${cur%%=*}= cur=${cur#*=}\n"
    "    elif [[ $cur == -* ]]; then\n"
    "        mapfile -t COMPREPLY < <(compgen -W \"$opts\" -- \"$cur\")\n"
    "        [[ ${COMPREPLY[*]} == *= ]] && compopt -o nospace 2>/dev/null\n"
    "        return\n"
    "    elif [[ \" $opts \" != *\" $option \"* ]]; then\n"
    "        (( place >= ${#places[@]} && ${#places[@]} > 0 )) && [[ $more ]] && "
    "place=$(( ${#places[@]} - 1 ))\n"
    "        _alba_values \"${places[place]}\" \"$cur\"\n"
    "        return\n"
    "    fi\n"
    "    for kind in $kinds; do\n"
    "        if [[ $kind == \"$option\"* ]]; then _alba_values \"${kind#\"$option\"}\" \"$cur\"; "
    "fi\n"
    "    done\n"
    "}\n"
    "\n";

static void put_verbs(void)
{
    fputs("_alba_verbs='", stdout);
    for (const struct verb *const *table = verb_tables; *table != NULL; table++) {
        for (const struct verb *v = *table; v->name != NULL; v++) {
            printf("%s%s", table == verb_tables && v == *table ? "" : " ", v->name);
        }
    }
    fputs("'\n\n", stdout);
}

static void put_options(const struct verb *v, const struct verb_option *options, bool kinds)
{
    for (int i = 0; options[i].name != NULL; i++) {
        const char *kind = word_kind_of_option(v, &options[i]);

        if (kinds && kind[0] != '\0') {
            printf(" --%s=%s", options[i].name, kind);
        } else if (!kinds) {
            printf(" --%s%s", options[i].name, options[i].arg != NULL ? "=" : "");
        }
    }
}

static void put_verb(const struct verb *v)
{
    const char *rest = v->positionals;
    struct verb_option common[VERB_COMMON_MAX];
    char word[WORD_BYTES_MAX];

    verb_common_options(v, common);
    printf("    %s)\n        opts='", v->name);
    put_options(v, v->options, false);
    put_options(v, common, false);
    fputs("'\n        kinds='", stdout);
    put_options(v, v->options, true);
    put_options(v, common, true);
    fputs("'\n        places=(", stdout);
    while ((rest = word_next(rest, word)) != NULL) {
        printf(" '%s'", word_kind_of_positional(v, word));
    }
    printf(" ) more='%s';;\n",
           v->positionals != NULL && strstr(v->positionals, "…]") != NULL ? "1" : "");
}

void completion_bash(void)
{
    fputs(script_head, stdout);
    put_verbs();
    fputs("_alba_verb() # sets opts, kinds, places, more of a verb\n{\n    case $1 in\n", stdout);
    for (const struct verb *const *table = verb_tables; *table != NULL; table++) {
        for (const struct verb *v = *table; v->name != NULL; v++) {
            put_verb(v);
        }
    }
    fputs("    esac\n}\n\ncomplete -F _alba alba\n", stdout);
}

/* ---- values ---- */

static void add_registry(struct cli *cli, const struct registry_view *view, const char *kind)
{
    for (size_t i = 0; strcmp(kind, "namespace") == 0 && i < registry_view_namespace_count(view);
         i++) {
        json_array_append_new(cli->result, json_string(registry_view_namespace(view, i)->name));
    }
    for (size_t i = 0; strcmp(kind, "preset") == 0 && i < registry_view_preset_count(view); i++) {
        json_array_append_new(cli->result, json_string(registry_view_preset(view, i)->name));
    }
    for (size_t i = 0; strcmp(kind, "osd") == 0 && i < registry_view_osd_count(view); i++) {
        json_array_append_new(cli->result, json_string(registry_view_osd(view, i)->long_id));
    }
    for (size_t i = 0; strcmp(kind, "host") == 0 && i < registry_view_nsm_host_count(view); i++) {
        json_array_append_new(cli->result, json_string(registry_view_nsm_host(view, i)->id));
    }
}

static void on_volumes(void *ctx, int rc, const struct err *e,
                       const struct registry_volume *volumes, size_t count, bool has_more)
{
    struct cli *cli = ((void **)ctx)[0];

    (void)has_more;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        json_array_append_new(cli->result, json_string(volumes[i].name));
    }
    session_done(((void **)ctx)[1], rc, e);
}

static int daemon_values(struct cli *cli)
{
    char *path = mem_printf("%s/up.json", deployment_dir(NULL));
    json_t *up = json_load_file(path, 0, NULL);
    size_t index;
    json_t *d;

    json_array_foreach(json_object_get(up, "daemons"), index, d)
    {
        json_array_append(cli->result, json_object_get(d, "name"));
    }
    json_decref(up);
    free(path);
    return 0;
}

int completion_values(struct cli *cli, const char *kind)
{
    static const char *const kinds[] = {"namespace", "preset", "osd", "host", "volume"};
    struct session s;
    bool known = false;
    int rc;

    cli->result = json_array();
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        known = known || strcmp(kinds[i], kind) == 0;
    }
    if (strcmp(kind, "daemon") == 0) {
        return daemon_values(cli);
    }
    if (!known) {
        return err_say(&cli->err, -EINVAL,
                       "'%.40s': want namespace, preset, osd, host, volume or daemon", kind);
    }
    rc = session_open(&s, cli);
    if (rc == 0 && strcmp(kind, "volume") == 0) {
        registry_volume_list(s.registry, "", VALUES_MAX, on_volumes, (void *[]){cli, &s});
        rc = session_wait(&s);
        rc = rc == 0 ? 0 : session_fail_mgr(&s, cli, MGR_UNKNOWN);
    } else if (rc == 0) {
        add_registry(cli, registry_view(s.registry), kind);
    }
    session_close(&s);
    return rc;
}
