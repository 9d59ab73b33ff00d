// SPDX-License-Identifier: GPL-2.0-only
#include "codec.h"

/* Copies text of a fixed field; what is not printable becomes '?', as it goes to logs. */
static void decode_text(char *to, const char *from, size_t len)
{
	size_t i;

	for (i = 0; i < len && from[i]; i++)
		to[i] = from[i] >= 0x20 && from[i] < 0x7f ? from[i] : '?';
	to[i] = '\0';
}

static void encode_text(char *to, const char *from, size_t len)
{
	size_t n = strnlen(from, len);

	memset(to, 0, len);
	memcpy(to, from, n);
}

void vpf_key_from_bytes(struct vpf_key *key, const u8 bytes[VPF_CTL_KEY_LEN])
{
	key->sip.key[0] = get_unaligned_le64(bytes);
	key->sip.key[1] = get_unaligned_le64(bytes + 8);
}

/* The tag field is taken as zeros for the computation, then put back. */
static u64 tag_of(u8 *bytes, size_t len, const struct vpf_key *key)
{
	u8 *field = bytes + offsetof(struct vpf_ctl_hdr, tag);
	__le64 kept;
	u64 tag;

	memcpy(&kept, field, sizeof(kept));
	memset(field, 0, sizeof(kept));
	tag = siphash(bytes, len, &key->sip);
	memcpy(field, &kept, sizeof(kept));
	return tag;
}

enum vpf_bad vpf_decode_msg(u8 *bytes, size_t len, const struct vpf_key *key, struct vpf_msg *msg)
{
	struct vpf_ctl_hdr hdr;
	u16 length;

	if (len < sizeof(hdr))
		return VPF_BAD_LENGTH;
	memcpy(&hdr, bytes, sizeof(hdr));
	if (le32_to_cpu(hdr.magic) != VPF_CTL_MAGIC)
		return VPF_BAD_MAGIC;
	if (hdr.version != VPF_CTL_VERSION)
		return VPF_BAD_VERSION;
	length = le16_to_cpu(hdr.length);
	if (length < sizeof(hdr) || length > VPF_CTL_MAX || length > len)
		return VPF_BAD_LENGTH;
	if (hdr.type < VPF_CTL_HELLO_REPLY || hdr.type > VPF_CTL_RESET)
		return VPF_BAD_TYPE;
	if (le64_to_cpu(hdr.tag) != tag_of(bytes, length, key))
		return VPF_BAD_TAG;
	msg->type = hdr.type;
	msg->session = le64_to_cpu(hdr.session);
	msg->sequence = le32_to_cpu(hdr.sequence);
	msg->body = bytes + sizeof(hdr);
	msg->body_len = length - sizeof(hdr);
	return VPF_GOOD;
}

enum vpf_bad vpf_decode_hello_reply(const struct vpf_msg *msg, struct vpf_hello_reply *hello)
{
	struct vpf_ctl_hello_reply wire;

	if (msg->body_len != sizeof(wire))
		return VPF_BAD_VALUE;
	memcpy(&wire, msg->body, sizeof(wire));
	hello->nonce = le64_to_cpu(wire.nonce);
	hello->status = le16_to_cpu(wire.status);
	hello->min_version = wire.min_version;
	hello->max_version = wire.max_version;
	hello->vfs = le16_to_cpu(wire.vfs);
	hello->capabilities = le32_to_cpu(wire.capabilities);
	memcpy(hello->mac, wire.mac, ETH_ALEN);
	decode_text(hello->pf, wire.pf, sizeof(wire.pf));
	decode_text(hello->daemon, wire.daemon, sizeof(wire.daemon));
	if (hello->status == VPF_CTL_VERSION_UNKNOWN)
		return VPF_GOOD;
	if (hello->status != VPF_CTL_OK || wire.version != VPF_CTL_VERSION || !msg->session ||
	    hello->vfs > 255)
		return VPF_BAD_VALUE;
	return VPF_GOOD;
}

static size_t record_size(u8 request)
{
	switch (request) {
	case VPF_CTL_GET:
	case VPF_CTL_SET:
		return sizeof(struct vpf_ctl_function);
	case VPF_CTL_STATS:
		return sizeof(struct vpf_ctl_stats);
	default:
		return 0;
	}
}

enum vpf_bad vpf_decode_reply(const struct vpf_msg *msg, struct vpf_reply *reply)
{
	struct vpf_ctl_reply wire;
	size_t size;

	if (msg->body_len < sizeof(wire))
		return VPF_BAD_VALUE;
	memcpy(&wire, msg->body, sizeof(wire));
	reply->request = wire.request;
	reply->status = le16_to_cpu(wire.status);
	reply->first = le16_to_cpu(wire.first);
	reply->count = le16_to_cpu(wire.count);
	decode_text(reply->text, wire.text, sizeof(wire.text));
	reply->records = msg->body + sizeof(wire);
	size = record_size(reply->request);
	if (!size || msg->body_len - sizeof(wire) != reply->count * size)
		return VPF_BAD_VALUE;
	if ((reply->status == VPF_CTL_OK) != (reply->count > 0))
		return VPF_BAD_VALUE;
	return VPF_GOOD;
}

enum vpf_bad vpf_decode_event(const struct vpf_msg *msg, u16 *ret_count, const u8 **ret_records)
{
	struct vpf_ctl_event wire;
	u16 count;

	if (msg->body_len < sizeof(wire))
		return VPF_BAD_VALUE;
	memcpy(&wire, msg->body, sizeof(wire));
	count = le16_to_cpu(wire.count);
	if (!count || msg->body_len - sizeof(wire) != count * sizeof(struct vpf_ctl_function))
		return VPF_BAD_VALUE;
	*ret_count = count;
	*ret_records = msg->body + sizeof(wire);
	return VPF_GOOD;
}

enum vpf_bad vpf_decode_bare(const struct vpf_msg *msg)
{
	return msg->body_len ? VPF_BAD_VALUE : VPF_GOOD;
}

static bool vlan_valid(u8 mode, u16 vid, u8 pcp, u16 tpid)
{
	if (tpid != 0x8100 && tpid != 0x88a8)
		return false;
	switch (mode) {
	case VPF_CTL_VLAN_NONE:
	case VPF_CTL_VLAN_TRUNK:
		return vid == 0 && pcp <= 7;
	case VPF_CTL_VLAN_ACCESS:
		return vid >= 1 && vid <= 4094 && pcp <= 7;
	default:
		return false;
	}
}

enum vpf_bad vpf_decode_function(const u8 *records, unsigned int index, struct vpf_function *fn)
{
	struct vpf_ctl_function wire;

	memcpy(&wire, records + index * sizeof(wire), sizeof(wire));
	fn->function = le16_to_cpu(wire.function);
	fn->spoofchk = wire.flags & VPF_CTL_F_SPOOFCHK;
	fn->trust = wire.flags & VPF_CTL_F_TRUST;
	fn->link_up = wire.flags & VPF_CTL_F_LINK_UP;
	fn->started = wire.flags & VPF_CTL_F_STARTED;
	fn->link = wire.link;
	memcpy(fn->mac, wire.mac, ETH_ALEN);
	memcpy(fn->admin_mac, wire.admin_mac, ETH_ALEN);
	fn->vid = le16_to_cpu(wire.vid);
	fn->pcp = wire.pcp;
	fn->tpid = le16_to_cpu(wire.tpid);
	fn->min_rate = le32_to_cpu(wire.min_rate);
	fn->max_rate = le32_to_cpu(wire.max_rate);
	fn->pinned = le32_to_cpu(wire.pinned);
	if (fn->link > VPF_CTL_LINK_DISABLE ||
	    !vlan_valid(wire.vlan_mode, fn->vid, fn->pcp, fn->tpid))
		return VPF_BAD_VALUE;
	if (!is_valid_ether_addr(fn->mac) || (wire.admin_mac[0] & 1))
		return VPF_BAD_VALUE;
	/* The kernel's interfaces have them as int. */
	if (fn->min_rate > S32_MAX || fn->max_rate > S32_MAX)
		return VPF_BAD_VALUE;
	return VPF_GOOD;
}

void vpf_decode_stats(const u8 *records, unsigned int index, struct vpf_stats *stats)
{
	struct vpf_ctl_stats wire;

	memcpy(&wire, records + index * sizeof(wire), sizeof(wire));
	stats->function = le16_to_cpu(wire.function);
	stats->rx_packets = le64_to_cpu(wire.rx_packets);
	stats->rx_bytes = le64_to_cpu(wire.rx_bytes);
	stats->rx_broadcast = le64_to_cpu(wire.rx_broadcast);
	stats->rx_multicast = le64_to_cpu(wire.rx_multicast);
	stats->rx_dropped = le64_to_cpu(wire.rx_dropped);
	stats->tx_packets = le64_to_cpu(wire.tx_packets);
	stats->tx_bytes = le64_to_cpu(wire.tx_bytes);
	stats->tx_broadcast = le64_to_cpu(wire.tx_broadcast);
	stats->tx_multicast = le64_to_cpu(wire.tx_multicast);
	stats->tx_dropped = le64_to_cpu(wire.tx_dropped);
}

/* The body is in @buf already, after the header's place. */
static size_t encode(u8 *buf, const struct vpf_key *key, u8 type, u64 session, u32 sequence,
		     size_t body_len)
{
	struct vpf_ctl_hdr hdr = {
		.magic = cpu_to_le32(VPF_CTL_MAGIC),
		.version = VPF_CTL_VERSION,
		.type = type,
		.length = cpu_to_le16(sizeof(hdr) + body_len),
		.session = cpu_to_le64(session),
		.sequence = cpu_to_le32(sequence),
	};
	size_t length = sizeof(hdr) + body_len;

	memcpy(buf, &hdr, sizeof(hdr));
	hdr.tag = cpu_to_le64(tag_of(buf, length, key));
	memcpy(buf, &hdr, sizeof(hdr));
	return length;
}

size_t vpf_encode_hello(u8 *buf, const struct vpf_key *key, u64 nonce, const char *driver,
			const char *kernel)
{
	struct vpf_ctl_hello wire = {
		.nonce = cpu_to_le64(nonce),
		.min_version = VPF_CTL_VERSION,
		.max_version = VPF_CTL_VERSION,
	};

	encode_text(wire.driver, driver, sizeof(wire.driver));
	encode_text(wire.kernel, kernel, sizeof(wire.kernel));
	memcpy(buf + sizeof(struct vpf_ctl_hdr), &wire, sizeof(wire));
	return encode(buf, key, VPF_CTL_HELLO, 0, 0, sizeof(wire));
}

size_t vpf_encode_range(u8 *buf, const struct vpf_key *key, u8 type, u64 session, u32 sequence,
			u16 first, u16 count)
{
	struct vpf_ctl_range wire = {
		.first = cpu_to_le16(first),
		.count = cpu_to_le16(count),
	};

	memcpy(buf + sizeof(struct vpf_ctl_hdr), &wire, sizeof(wire));
	return encode(buf, key, type, session, sequence, sizeof(wire));
}

size_t vpf_encode_set(u8 *buf, const struct vpf_key *key, u64 session, u32 sequence,
		      const struct vpf_set *set)
{
	struct vpf_ctl_set wire = {
		.function = cpu_to_le16(set->function),
		.mask = cpu_to_le16(set->mask),
		.spoofchk = set->spoofchk,
		.trust = set->trust,
		.link = set->link,
		.pcp = set->pcp,
		.vid = cpu_to_le16(set->vid),
		.tpid = cpu_to_le16(set->tpid),
		.min_rate = cpu_to_le32(set->min_rate),
		.max_rate = cpu_to_le32(set->max_rate),
	};

	memcpy(wire.mac, set->mac, ETH_ALEN);
	memcpy(buf + sizeof(struct vpf_ctl_hdr), &wire, sizeof(wire));
	return encode(buf, key, VPF_CTL_SET, session, sequence, sizeof(wire));
}

size_t vpf_encode_bare(u8 *buf, const struct vpf_key *key, u8 type, u64 session, u32 sequence)
{
	return encode(buf, key, type, session, sequence, 0);
}
