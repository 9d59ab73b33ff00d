// SPDX-License-Identifier: GPL-2.0-only
/* The codec in the kernel that runs it: the frames of docs/control-channel.md, and malformed ones.
 *
 * Loading the module runs all cases, and fails if one of them does. The kernel log has the results
 * as KTAP, each line after the module's name:
 *
 *   1..22
 *   ok 1 hello_vector
 *   # get_vector:55: at 0: memcmp(buf, message, len) is 1, not 0
 *   not ok 2 get_vector
 *
 * Messages are decoded at the end of mapped memory: one byte read too far is a page fault.
 * Debian's kernels have no KUnit.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/etherdevice.h>
#include <linux/module.h>
#include <linux/printk.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

#include "codec_test.h"
#include "compat.h"

#define POISON 0xa5
#define LINES_PER_CASE 8

struct vpf_key key;

/* Specification, "Authentication" */
const u8 key_bytes[16] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };

static u8 *page; /* PAGE_SIZE bytes with an unmapped page after them */
static unsigned int failures; /* of the case that runs */

bool codec_expect(const char *function, int line, const char *what, u64 at, u64 got, u64 want)
{
	if (got != want && failures++ < LINES_PER_CASE)
		pr_err("# %s:%d: at %llu: %s is %llu, not %llu\n", function, line, at, what, got,
		       want);
	return got == want;
}

/* msg->body points into the copy until the next call. */
enum vpf_bad decode(size_t len, struct vpf_msg *msg)
{
	u8 *at = page + PAGE_SIZE - len;
	enum vpf_bad bad;

	memset(page, POISON, PAGE_SIZE - len);
	memcpy(at, message, len);
	bad = vpf_decode_msg(at, len, &key, msg);
	EXPECT_AT(len, memcmp(at, message, len), 0);
	EXPECT_AT(len, !!memchr_inv(page, POISON, PAGE_SIZE - len), 0);
	if (!bad) {
		EXPECT_AT(len, msg->body - at, HDR);
		EXPECT_AT(len, msg->body_len, get_unaligned_le16(message + 6) - HDR);
	}
	return bad;
}

static bool printable(const char *text, size_t size)
{
	size_t i, n = strnlen(text, size);

	for (i = 0; i < n && text[i] >= 0x20 && text[i] <= 0x7e; i++)
		;
	return n < size && i == n;
}

static enum vpf_bad decode_functions(const u8 *records, unsigned int count)
{
	struct vpf_function fn;
	unsigned int i;
	enum vpf_bad bad;

	for (i = 0; i < count; i++) {
		bad = vpf_decode_function(records, i, &fn);
		if (bad)
			return bad;
		EXPECT_AT(i, fn.link <= 2 && fn.pcp <= 7 && fn.vid <= 4094, true);
		EXPECT_AT(i, fn.tpid == 0x8100 || fn.tpid == 0x88a8, true);
		EXPECT_AT(i, is_valid_ether_addr(fn.mac), true);
		EXPECT_AT(i, is_multicast_ether_addr(fn.admin_mac), false);
		EXPECT_AT(i, fn.min_rate <= S32_MAX && fn.max_rate <= S32_MAX, true);
	}
	return VPF_GOOD;
}

static enum vpf_bad decode_reply_records(const struct vpf_reply *reply)
{
	struct vpf_stats stats;
	unsigned int i;

	EXPECT(printable(reply->text, sizeof(reply->text)), true);
	if (reply->request != VPF_CTL_STATS)
		return decode_functions(reply->records, reply->count);
	for (i = 0; i < reply->count; i++)
		vpf_decode_stats(reply->records, i, &stats);
	return VPF_GOOD;
}

/* All of it, as channel_rx.c does; what is good has possible values only. */
enum vpf_bad decode_whole(size_t len)
{
	struct vpf_hello_reply hello;
	struct vpf_reply reply;
	struct vpf_msg msg;
	const u8 *records;
	u16 count;
	enum vpf_bad bad;

	bad = decode(len, &msg);
	if (bad)
		return bad;
	switch (msg.type) {
	case VPF_CTL_HELLO_REPLY:
		bad = vpf_decode_hello_reply(&msg, &hello);
		if (bad)
			return bad;
		EXPECT(printable(hello.pf, sizeof(hello.pf)), true);
		EXPECT(printable(hello.daemon, sizeof(hello.daemon)), true);
		EXPECT(hello.status == VPF_CTL_VERSION_UNKNOWN || hello.vfs <= 255, true);
		return VPF_GOOD;
	case VPF_CTL_REPLY:
		bad = vpf_decode_reply(&msg, &reply);
		return bad ? bad : decode_reply_records(&reply);
	case VPF_CTL_EVENT:
		bad = vpf_decode_event(&msg, &count, &records);
		return bad ? bad : decode_functions(records, count);
	default:
		EXPECT(msg.type, VPF_CTL_RESET);
		return vpf_decode_bare(&msg);
	}
}

/* Returns the number of cases that failed; the first is number @number. */
static unsigned int run(const struct codec_case *cases, unsigned int number)
{
	unsigned int failed = 0;

	for (; cases->name; cases++, number++) {
		failures = 0;
		cases->run();
		failed += failures > 0;
		pr_info("%s %u %s\n", failures ? "not ok" : "ok", number, cases->name);
	}
	return failed;
}

static unsigned int count(const struct codec_case *cases)
{
	unsigned int n = 0;

	while (cases[n].name)
		n++;
	return n;
}

static int __init codec_test_init(void)
{
	unsigned int fields = count(codec_fields_cases), failed;

	page = vmalloc(PAGE_SIZE);
	if (!page)
		return -ENOMEM;
	vpf_key_from_bytes(&key, key_bytes);
	pr_info("1..%u\n", fields + count(codec_malformed_cases));
	failed = run(codec_fields_cases, 1);
	failed += run(codec_malformed_cases, 1 + fields);
	vfree(page);
	return failed ? -EINVAL : 0;
}

/* There is nothing to undo, but a module without this cannot be unloaded. */
static void __exit codec_test_exit(void)
{
}

module_init(codec_test_init);
module_exit(codec_test_exit);

MODULE_DESCRIPTION("Tests of vpf.ko's codec");
MODULE_AUTHOR("The vpf project");
MODULE_LICENSE("GPL");
