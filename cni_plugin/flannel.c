/* The CNI plugin "flannel" for hosts without Python: the same as flannel.py, which is the reference and says what it
 * does and why; one contract suite runs over both (tests/contract/test_flannel_plugin.py).
 *
 * JSON is kept as a tree of the texts that it was written in, and printed with the fields of objects in the order of
 * their names, as Go prints a map. Whatever ends the program frees nothing: it lives for milliseconds.
 *
 * Static, so that it runs on any host of the same processor: cc -static -Os -s flannel.c
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SUBNET_FILE "/run/flannel/subnet.env"
#define DATA_DIR "/var/lib/cni/flannel"
#define FIRST_INTERFACE "eth0"
#define DEEPEST 100

enum { BAD_ENVIRONMENT = 4, IO_FAILURE = 5, UNDECODABLE = 6, NOT_AVAILABLE = 50, OTHER = 999 };

/* --- memory and texts --- */

static void *need_memory(void *got) {
	if (!got) {
		fputs("flannel: out of memory\n", stderr);
		exit(1);
	}
	return got;
}

static char *text(const char *form, ...) {
	char *made;
	va_list list;
	va_start(list, form);
	int size = vasprintf(&made, form, list);
	va_end(list);
	return need_memory(size < 0 ? NULL : made);
}

/* --- JSON --- */

enum kind { OBJECT, LIST, STRING, OTHER_VALUE };

/* Of objects and lists: the members, of objects with their names (raw, with quotes). Of all others: the raw text. */
struct value {
	enum kind kind;
	char *raw;
	size_t count;
	char **names;
	struct value **members;
};

static struct value *make(enum kind kind, char *raw) {
	struct value *made = need_memory(calloc(1, sizeof *made));
	made->kind = kind;
	made->raw = raw;
	return made;
}

static void append(struct value *to, char *name, struct value *member) {
	to->names = need_memory(realloc(to->names, (to->count + 1) * sizeof *to->names));
	to->members = need_memory(realloc(to->members, (to->count + 1) * sizeof *to->members));
	to->names[to->count] = name;
	to->members[to->count++] = member;
}

static void skip(const char **at) {
	while (**at == ' ' || **at == '\t' || **at == '\n' || **at == '\r') (*at)++;
}

static bool is_escape(const char *at) {
	if (*at != 'u') return *at && strchr("\"\\/bfnrt", *at);
	return strspn(at + 1, "0123456789abcdefABCDEF") >= 4;
}

static char *parse_string(const char **at) {
	const char *begin = (*at)++;
	while (**at && **at != '"') {
		if ((unsigned char)**at < 0x20) return NULL;
		if (**at == '\\' && !is_escape(++*at)) return NULL;
		(*at)++;
	}
	if (!**at) return NULL;
	(*at)++;
	return need_memory(strndup(begin, *at - begin));
}

static struct value *parse(const char **at, int depth);

static struct value *parse_members(const char **at, int depth) {
	bool is_object = **at == '{';
	char end = is_object ? '}' : ']';
	struct value *made = make(is_object ? OBJECT : LIST, NULL);
	(*at)++;
	skip(at);
	if (**at == end) {
		(*at)++;
		return made;
	}
	for (;;) {
		char *name = NULL;
		skip(at);
		if (is_object) {
			if (**at != '"' || !(name = parse_string(at))) return NULL;
			skip(at);
			if (*(*at)++ != ':') return NULL;
		}
		struct value *member = parse(at, depth + 1);
		if (!member) return NULL;
		append(made, name, member);
		skip(at);
		if (**at == end) {
			(*at)++;
			return made;
		}
		if (*(*at)++ != ',') return NULL;
	}
}

static struct value *parse(const char **at, int depth) {
	skip(at);
	if (depth > DEEPEST) return NULL;
	if (**at == '{' || **at == '[') return parse_members(at, depth);
	if (**at == '"') {
		char *raw = parse_string(at);
		return raw ? make(STRING, raw) : NULL;
	}
	size_t size = strspn(*at, "0123456789+-.eEtrufalsn");
	if (!size) return NULL;
	char *raw = need_memory(strndup(*at, size));
	*at += size;
	bool is_word = !strcmp(raw, "true") || !strcmp(raw, "false") || !strcmp(raw, "null");
	char *end;
	strtod(raw, &end);
	return is_word || ((isdigit((unsigned char)raw[0]) || raw[0] == '-') && !*end) ? make(OTHER_VALUE, raw) : NULL;
}

static struct value *parse_all(const char *whole) {
	const char *at = whole;
	struct value *made = parse(&at, 0);
	skip(&at);
	return made && !*at ? made : NULL;
}

/* Of several members with one name the last. */
static struct value *get(const struct value *of, const char *name) {
	size_t size = strlen(name);
	for (size_t at = of && of->kind == OBJECT ? of->count : 0; at-- > 0;)
		if (strlen(of->names[at]) == size + 2 && !strncmp(of->names[at] + 1, name, size)) return of->members[at];
	return NULL;
}

static void set(struct value *of, const char *name, struct value *to) {
	for (size_t at = 0; at < of->count; at++)
		if (strlen(of->names[at]) == strlen(name) + 2 && !strncmp(of->names[at] + 1, name, strlen(name))) {
			of->members[at] = to;
			return;
		}
	append(of, text("\"%s\"", name), to);
}

static void set_default(struct value *of, const char *name, struct value *to) {
	if (!get(of, name)) set(of, name, to);
}

static bool is_null(const struct value *one) {
	return !one || (one->kind == OTHER_VALUE && !strcmp(one->raw, "null"));
}

/* What counts as nothing in Python: null, false, 0, an empty text, list or object. */
static bool is_empty(const struct value *one) {
	if (is_null(one)) return true;
	if (one->kind == OBJECT || one->kind == LIST) return !one->count;
	return !strcmp(one->raw, "\"\"") || !strcmp(one->raw, "false") || !strcmp(one->raw, "0");
}

static struct value *copy(const struct value *of) {
	struct value *made = make(of ? of->kind : OBJECT, NULL);
	for (size_t at = 0; of && at < of->count; at++) {
		if (of->kind == OBJECT) {
			char *name = need_memory(strndup(of->names[at] + 1, strlen(of->names[at]) - 2));
			set(made, name, of->members[at]);
		} else {
			append(made, NULL, of->members[at]);
		}
	}
	return made;
}

/* A text as it is meant, for names of files and plugins: what needs more than simple escapes has no place there. */
static char *meant(const struct value *of, const char *otherwise) {
	if (!of || of->kind != STRING || strlen(of->raw) == 2) return (char *)otherwise;
	char *made = need_memory(strdup(of->raw + 1)), *to = made;
	for (char *from = made; *from && *from != '"'; from++) {
		if (*from == '\\') from++;
		*to++ = *from;
	}
	*to = 0;
	return made;
}

static char *quoted(const char *plain) {
	char *made = need_memory(malloc(strlen(plain) * 6 + 3)), *to = made;
	*to++ = '"';
	for (; *plain; plain++) {
		unsigned char one = *plain;
		if (one == '"' || one == '\\') {
			*to++ = '\\';
			*to++ = one;
		} else if (one < 0x20) {
			to += sprintf(to, "\\u%04x", one);
		} else {
			*to++ = one;
		}
	}
	strcpy(to, "\"");
	return made;
}

static struct value *string(const char *plain) { return make(STRING, quoted(plain)); }

static int by_name(const void *one, const void *other) { return strcmp(**(char **const *)one, **(char **const *)other); }

static void print_value(FILE *to, const struct value *one) {
	if (one->kind == STRING || one->kind == OTHER_VALUE) {
		fputs(one->raw, to);
		return;
	}
	char ***order = need_memory(calloc(one->count + 1, sizeof *order));
	for (size_t at = 0; at < one->count; at++) order[at] = &one->names[at];
	if (one->kind == OBJECT) qsort(order, one->count, sizeof *order, by_name);
	putc(one->kind == OBJECT ? '{' : '[', to);
	for (size_t at = 0; at < one->count; at++) {
		if (at) putc(',', to);
		if (one->kind == OBJECT) fprintf(to, "%s:", *order[at]);
		print_value(to, one->members[order[at] - one->names]);
	}
	putc(one->kind == OBJECT ? '}' : ']', to);
	free(order);
}

static char *printed(const struct value *one) {
	char *made;
	size_t size;
	FILE *to = need_memory(open_memstream(&made, &size));
	print_value(to, one);
	fclose(to);
	return made;
}

/* --- failures --- */

static const char *version_of_conf = "\"1.1.0\"";

static void fail(int code, const char *why) {
	printf("{\"cniVersion\": %s, \"code\": %d, \"msg\": %s}\n", version_of_conf, code, quoted(why));
	exit(1);
}

static char *need(const char *variable) {
	char *found = getenv(variable);
	if (!found || !*found) fail(BAD_ENVIRONMENT, text("required env variables [%s] missing", variable));
	return found;
}

/* Part of a file's name, so no path. */
static char *container_id(void) {
	char *found = need("CNI_CONTAINERID");
	bool is_good = isalnum((unsigned char)*found);
	for (char *at = found; *at; at++) is_good &= isalnum((unsigned char)*at) || strchr("_.-", *at);
	if (!is_good) fail(BAD_ENVIRONMENT, text("invalid characters in containerID: %s", found));
	return found;
}

/* --- files --- */

static char *read_all(int from) {
	size_t size = 0, room = 1 << 16;
	char *made = need_memory(malloc(room));
	ssize_t got;
	while ((got = read(from, made + size, room - size - 1)) > 0) {
		size += got;
		if (room - size < 2) made = need_memory(realloc(made, room *= 2));
	}
	made[size] = 0;
	return strlen(made) == size ? made : need_memory(strdup(""));
}

static char *read_file(const char *path) {
	int from = open(path, O_RDONLY | O_CLOEXEC);
	if (from < 0) return NULL;
	char *made = read_all(from);
	close(from);
	return made;
}

static char *data_dir(const struct value *conf) { return meant(get(conf, "dataDir"), DATA_DIR); }

static char *path_of(const struct value *conf, const char *container) {
	const char *interface = getenv("CNI_IFNAME");
	if (!interface || !strcmp(interface, FIRST_INTERFACE)) return text("%s/%s", data_dir(conf), container);
	return text("%s/%s:%s", data_dir(conf), container, interface);
}

static struct value *read_kept(const char *path) {
	char *whole = read_file(path);
	if (!whole) {
		if (errno != ENOENT) fprintf(stderr, "flannel: %s cannot be read, and is passed over\n", path);
		return NULL;
	}
	struct value *kept = parse_all(whole);
	if (!kept || kept->kind != OBJECT) {
		fprintf(stderr, "flannel: %s cannot be read, and is passed over: it is not JSON\n", path);
		return NULL;
	}
	return kept;
}

/* Of the container; an interface without a file of its own may have been made by the original. */
static struct value *kept_of(const struct value *conf, char **path) {
	char *container = container_id();
	*path = path_of(conf, container);
	char *plain = text("%s/%s", data_dir(conf), container);
	if (access(*path, F_OK) && !access(plain, F_OK)) *path = plain;
	return read_kept(*path);
}

static void make_folders(char *path) {
	for (char *at = strchr(path + 1, '/');; at = strchr(at + 1, '/')) {
		if (at) *at = 0;
		mkdir(path, 0700);
		if (!at) return;
		*at = '/';
	}
}

static void keep(const char *path, const struct value *delegate) {
	char *folder = need_memory(strdup(path)), *fresh = text("%s.new", path), *whole = printed(delegate);
	*strrchr(folder, '/') = 0;
	make_folders(folder);
	int to = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	bool is_done = to >= 0 && write(to, whole, strlen(whole)) == (ssize_t)strlen(whole) && !fsync(to);
	if (to >= 0) is_done &= !close(to);
	if (!is_done || rename(fresh, path)) fail(IO_FAILURE, text("failed to save %s: %s", path, strerror(errno)));
}

static void forget(const char *path) {
	if (unlink(path) && errno != ENOENT) fail(IO_FAILURE, text("failed to remove %s: %s", path, strerror(errno)));
}

/* --- subnet.env --- */

struct env {
	struct value *networks, *subnets;
	char *mtu;
	bool masquerades;
};

static char *said(const char *whole, const char *name) {
	size_t size = strlen(name);
	char *found = NULL;
	for (const char *line = whole; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
		if (!strncmp(line, name, size) && line[size] == '=')
			found = need_memory(strndup(line + size + 1, strcspn(line + size + 1, "\n")));
	return found ? found : "";
}

/* The network that an address and a length name; NULL for none. */
static char *masked(const char *subnet) {
	char *address = need_memory(strdup(subnet)), *slash = strchr(address, '/'), shown[INET6_ADDRSTRLEN];
	unsigned char bytes[16];
	int family = strchr(address, ':') ? AF_INET6 : AF_INET, bits = family == AF_INET ? 32 : 128;
	if (!slash) return NULL;
	*slash = 0;
	char *end;
	long length = strtol(slash + 1, &end, 10);
	if (*end || !slash[1] || length < 0 || length > bits || inet_pton(family, address, bytes) != 1) return NULL;
	for (int bit = length; bit < bits; bit++) bytes[bit / 8] &= ~(0x80 >> bit % 8);
	return text("%s/%ld", inet_ntop(family, bytes, shown, sizeof shown), length);
}

static void add_networks(struct value *to, const char *names, bool is_destination) {
	char *rest = need_memory(strdup(names)), *one;
	while ((one = strsep(&rest, ","))) {
		struct value *route = make(OBJECT, NULL), *network = string(one);
		bool is_known = !*one;
		for (size_t at = 0; at < to->count; at++)
			is_known |= is_destination && !strcmp(get(to->members[at], "dst")->raw, network->raw);
		set(route, "dst", network);
		if (!is_known) append(to, NULL, route);
	}
}

static void add_range(struct value *to, const char *subnet, int code) {
	if (!*subnet) return;
	char *network = masked(subnet);
	if (!network) fail(code, text("FLANNEL_SUBNET: %s is not a network", subnet));
	struct value *range = make(OBJECT, NULL), *set_of_ranges = make(LIST, NULL);
	set(range, "subnet", string(network));
	append(set_of_ranges, NULL, range);
	append(to, NULL, set_of_ranges);
}

static void add_missing(char **missing, const char *whole, const char *one, const char *other) {
	if (*said(whole, one) || (other && *said(whole, other))) return;
	*missing = text("%s%s%s", *missing, **missing ? ", " : "", one);
	if (other) *missing = text("%s, %s", *missing, other);
}

static struct env read_subnet_file(const char *path, int code) {
	char *whole = read_file(path);
	if (!whole) {
		char *why = need_memory(strdup(strerror(errno)));
		*why = tolower((unsigned char)*why);
		why = text("failed to load flannel 'subnet.env' file: open %s: %s", path, why);
		fail(code, text("%s. Check the flannel pod log for this node.", why));
	}
	char *missing = "";
	add_missing(&missing, whole, "FLANNEL_NETWORK", "FLANNEL_IPV6_NETWORK");
	add_missing(&missing, whole, "FLANNEL_SUBNET", "FLANNEL_IPV6_SUBNET");
	add_missing(&missing, whole, "FLANNEL_MTU", NULL);
	add_missing(&missing, whole, "FLANNEL_IPMASQ", NULL);
	if (*missing) fail(code, text("%s is missing %s", path, missing));
	struct env env = {make(LIST, NULL), make(LIST, NULL), said(whole, "FLANNEL_MTU"), false};
	if (env.mtu[strspn(env.mtu, "0123456789")]) fail(code, text("%s: FLANNEL_MTU=%s is not a number", path, env.mtu));
	add_networks(env.networks, said(whole, "FLANNEL_NETWORK"), true);
	add_networks(env.networks, said(whole, "FLANNEL_IPV6_NETWORK"), true);
	add_range(env.subnets, said(whole, "FLANNEL_SUBNET"), code);
	add_range(env.subnets, said(whole, "FLANNEL_IPV6_SUBNET"), code);
	env.masquerades = !strcmp(said(whole, "FLANNEL_IPMASQ"), "true");
	return env;
}

/* --- the conversion --- */

static struct value *ipam_of(const struct value *conf, const struct env *env, int code) {
	struct value *given = get(conf, "ipam");
	struct value *before = is_empty(given) ? NULL : get(given, "routes");
	if ((!is_empty(given) && given->kind != OBJECT) || (!is_empty(before) && before->kind != LIST))
		fail(code, "'ipam' must be an object, and its 'routes' a list");
	struct value *ipam = is_empty(given) ? make(OBJECT, NULL) : copy(given);
	struct value *routes = is_empty(before) ? make(LIST, NULL) : copy(before);
	for (size_t at = 0; at < env->networks->count; at++) append(routes, NULL, env->networks->members[at]);
	set_default(ipam, "type", string("host-local"));
	set(ipam, "ranges", env->subnets);
	set(ipam, "routes", routes);
	return ipam;
}

static struct value *delegate_of(const struct value *conf, int code) {
	struct env env = read_subnet_file(meant(get(conf, "subnetFile"), SUBNET_FILE), code);
	struct value *given = get(conf, "delegate"), *type = is_null(given) ? NULL : get(given, "type");
	if (!is_null(given) && given->kind != OBJECT) fail(code, "'delegate' must be an object");
	if (type && type->kind != STRING)
		fail(code, "'delegate' dictionary, if present, must have (string) 'type' field");
	const char *ours[] = {"name", "ipam"};
	for (int at = 0; at < 2; at++)
		if (!is_null(given) && get(given, ours[at]))
			fail(code, text("'delegate' dictionary must not have '%s' field, it'll be set by flannel", ours[at]));
	struct value *delegate = is_null(given) ? make(OBJECT, NULL) : copy(given);
	if (!is_empty(get(conf, "runtimeConfig"))) set(delegate, "runtimeConfig", get(conf, "runtimeConfig"));
	set(delegate, "name", get(conf, "name") ? get(conf, "name") : string(""));
	set_default(delegate, "type", string("bridge"));
	set_default(delegate, "ipMasq", make(OTHER_VALUE, env.masquerades ? "false" : "true"));
	set_default(delegate, "mtu", make(OTHER_VALUE, env.mtu));
	if (!strcmp(get(delegate, "type")->raw, "\"bridge\"")) set_default(delegate, "isGateway", make(OTHER_VALUE, "true"));
	if (!is_empty(get(conf, "cniVersion"))) set(delegate, "cniVersion", get(conf, "cniVersion"));
	set(delegate, "ipam", ipam_of(conf, &env, code));
	return delegate;
}

/* --- the other plugin --- */

static char *find(const char *plugin) {
	char *all = need("CNI_PATH"), *rest = need_memory(strdup(all)), *folder, *shown = "";
	while ((folder = strsep(&rest, ":"))) {
		char *path = text("%s/%s", folder, plugin);
		if (*plugin && !strchr(plugin, '/') && !access(path, X_OK)) return path;
		shown = text("%s%s%s", shown, *shown ? " " : "", folder);
	}
	fail(OTHER, text("failed to find plugin \"%s\" in path [%s]", plugin, shown));
	return NULL;
}

struct outcome {
	int status;
	char *output;
};

static struct outcome execute(const char *program, const char *input) {
	int in[2], out[2], status = 0;
	if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC)) fail(IO_FAILURE, strerror(errno));
	pid_t child = fork();
	if (child < 0) fail(IO_FAILURE, strerror(errno));
	if (!child) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		execl(program, program, NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	pid_t writer = fork(); /* so that neither waits for the other, however much there is */
	if (!writer) _exit(write(in[1], input, strlen(input)) < 0);
	close(in[1]);
	struct outcome done = {0, read_all(out[0])};
	close(out[0]);
	if (writer > 0) waitpid(writer, NULL, 0);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR);
	done.status = status;
	return done;
}

/* Why it failed, and the code; NULL if it did not. */
static char *failure_of(struct outcome done, const char *program, const char *verb, int *code) {
	if (!done.status) return NULL;
	struct value *told = parse_all(done.output), *msg = get(told, "msg");
	char *details = meant(get(told, "details"), ""), *why;
	*code = get(told, "code") ? atoi(get(told, "code")->raw) : OTHER;
	if (msg) {
		why = meant(msg, "");
	} else {
		done.output[strcspn(done.output, "\n")] = 0;
		why = *done.output ? done.output : text("%s ended without a word", strrchr(program, '/') + 1);
	}
	return text("failed to delegate %s: %s%s%s", verb, why, *details ? "; " : "", details);
}

static char *run(const struct value *conf, const char *verb) {
	char *program = find(meant(get(conf, "type"), ""));
	struct outcome done = execute(program, printed(conf));
	int code;
	char *why = failure_of(done, program, verb, &code);
	if (why) fail(code, why);
	return done.output;
}

/* --- the commands --- */

static void do_add(const struct value *conf) {
	char *container = container_id();
	need("CNI_NETNS");
	need("CNI_IFNAME");
	need("CNI_PATH");
	struct value *delegate = delegate_of(conf, OTHER);
	keep(path_of(conf, container), delegate);
	fputs(run(delegate, "add"), stdout);
}

static void do_del(const struct value *conf) {
	char *path;
	struct value *kept = kept_of(conf, &path);
	if (kept) run(kept, "del");
	forget(path);
}

static void do_check(const struct value *conf) {
	char *path;
	struct value *kept = kept_of(conf, &path);
	if (!kept)
		fail(OTHER, text("container %s is not known here: it has no file in %s", container_id(), data_dir(conf)));
	const char *handed_on[] = {"prevResult", "runtimeConfig"};
	for (int at = 0; at < 2; at++)
		if (get(conf, handed_on[at])) set(kept, handed_on[at], get(conf, handed_on[at]));
	run(kept, "check");
}

static void do_status(const struct value *conf) { run(delegate_of(conf, NOT_AVAILABLE), "status"); }

static bool is_valid(const struct value *conf, const char *container) {
	struct value *list = get(conf, "cni.dev/valid-attachments");
	for (size_t at = 0; list && list->kind == LIST && at < list->count; at++)
		if (!strcmp(meant(get(list->members[at], "containerID"), ""), container)) return true;
	return false;
}

static char *collect(const struct value *conf, const char *name) {
	char *path = text("%s/%s", data_dir(conf), name), *container = need_memory(strdup(name)), *interface = FIRST_INTERFACE;
	char *colon = strchr(container, ':');
	if (colon) {
		*colon = 0;
		interface = colon + 1;
	}
	struct value *kept = is_valid(conf, container) ? NULL : read_kept(path);
	if (!kept || strcmp(meant(get(kept, "name"), ""), meant(get(conf, "name"), ""))) return NULL;
	setenv("CNI_COMMAND", "DEL", 1);
	setenv("CNI_CONTAINERID", container, 1);
	setenv("CNI_IFNAME", interface, 1);
	setenv("CNI_NETNS", "", 1);
	char *program = find(meant(get(kept, "type"), ""));
	int code;
	char *why = failure_of(execute(program, printed(kept)), program, "del", &code);
	if (!why) forget(path);
	return why ? text("%s: %s", name, why) : NULL;
}

static void do_gc(const struct value *conf) {
	struct dirent **names;
	int count = scandir(data_dir(conf), &names, NULL, alphasort);
	char *failures = "";
	for (int at = 0; at < count; at++) {
		char *why = *names[at]->d_name == '.' ? NULL : collect(conf, names[at]->d_name);
		if (why) failures = text("%s%s%s", failures, *failures ? "; " : "", why);
	}
	if (*failures) fail(OTHER, failures);
}

static const struct {
	const char *name;
	void (*act)(const struct value *conf);
} commands[] = {{"ADD", do_add}, {"DEL", do_del}, {"CHECK", do_check}, {"STATUS", do_status}, {"GC", do_gc}};

int main(void) {
	const char *command = getenv("CNI_COMMAND");
	if (!command || !*command) {
		fputs("CNI flannel plugin " VERSION ": makes configurations of other plugins from flannel's subnet.env\n", stderr);
		return 0;
	}
	if (!strcmp(command, "VERSION")) {
		puts("{\"cniVersion\": \"1.1.0\", \"supportedVersions\": [\"0.1.0\", \"0.2.0\", \"0.3.0\", \"0.3.1\", \"0.4.0\", "
		     "\"1.0.0\", \"1.1.0\"]}");
		return 0;
	}
	struct value *conf = parse_all(read_all(0));
	if (!conf) fail(UNDECODABLE, "failed to load netconf: it is not JSON");
	if (conf->kind != OBJECT) fail(UNDECODABLE, "failed to load netconf: an object is expected");
	struct value *version = get(conf, "cniVersion");
	if (version && version->kind == STRING && strlen(version->raw) > 2) version_of_conf = version->raw;
	for (size_t at = 0; at < sizeof commands / sizeof *commands; at++)
		if (!strcmp(command, commands[at].name)) {
			commands[at].act(conf);
			return 0;
		}
	fail(BAD_ENVIRONMENT, text("unknown CNI_COMMAND: %s", command));
}
