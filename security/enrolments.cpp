#include "security/enrolments.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <openssl/crypto.h>

#include <algorithm>

#include <boost/json.hpp>

namespace potluck::security {
namespace {

namespace json = boost::json;

constexpr std::size_t kHashDigits = 64;

bool is_hash(std::string_view text) {
    return text.size() == kHashDigits &&
           text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

bool spent(const TokenRecord& token, Time now) {
    return token.revoked || token.uses_left == 0 || token.expires <= now;
}

tl::unexpected<Error> refused(std::string why) {
    return error(ErrorCode::kInvalidArgument, std::move(why));
}

std::string free_name(const std::vector<std::string>& taken, const std::string& wanted) {
    std::string name = wanted;
    for (std::size_t i = 2; std::ranges::find(taken, name) != taken.end(); ++i) {
        const std::string number = fmt::format("-{}", i);
        name = wanted.substr(0, kMaxNameBytes - number.size()) + number;
    }
    return name;
}

Result<TokenRecord> parse_record(const json::value& value) {
    const auto bad = [] { return error(ErrorCode::kCorrupt, "a token's entry is malformed"); };
    const auto* object = value.if_object();
    if (object == nullptr) return bad();
    const auto* hash = object->if_contains("hash");
    const auto* expires = object->if_contains("expires");
    const auto* uses = object->if_contains("uses_left");
    const auto* revoked = object->if_contains("revoked");
    if (hash == nullptr || !hash->is_string() || !is_hash(hash->get_string()) ||
        expires == nullptr || !expires->is_int64() || uses == nullptr || !uses->is_int64() ||
        uses->get_int64() < 0 || uses->get_int64() > kMaxUses || revoked == nullptr ||
        !revoked->is_bool())
        return bad();
    if (expires->get_int64() < 0 || expires->get_int64() > kMaxExpiry) return bad();
    return TokenRecord{
        .hash = std::string(hash->get_string()),
        .expires = std::chrono::sys_seconds(std::chrono::seconds(expires->get_int64())),
        .uses_left = static_cast<std::uint32_t>(uses->get_int64()),
        .revoked = revoked->get_bool()};
}

Status parse_names(const json::array& values, std::vector<std::string>& names) {
    if (values.size() > kMaxNodes) return error(ErrorCode::kCorrupt, "too many nodes");
    for (const auto& value : values) {
        if (!value.is_string() || !is_node_name(std::string_view(value.get_string())))
            return error(ErrorCode::kCorrupt, "a node's name is malformed");
        names.emplace_back(value.get_string());
    }
    return {};
}

}  // namespace

Status Enrolments::add(TokenRecord token, Time now) {
    if (tokens.size() >= kMaxTokens)
        std::erase_if(tokens, [&](const TokenRecord& t) { return spent(t, now); });
    if (tokens.size() >= kMaxTokens)
        return error(ErrorCode::kResourceExhausted,
                     fmt::format("there are {} join tokens already; revoke some", kMaxTokens));
    tokens.push_back(std::move(token));
    return {};
}

Status Enrolments::revoke(std::string_view id) {
    const auto found = std::ranges::find_if(tokens, [&](const auto& t) { return t.id() == id; });
    if (found == tokens.end())
        return error(ErrorCode::kNotFound, fmt::format("there is no join token {}", id));
    found->revoked = true;
    return {};
}

Result<std::string> Enrolments::redeem(std::string_view secret, const std::string& wanted,
                                       Time now) {
    if (!is_node_name(wanted))
        return refused(fmt::format("a node's name is up to {} letters, digits, '-', '_' and '.'",
                                   kMaxNameBytes));
    const std::string hash = hash_secret(secret);
    TokenRecord* found = nullptr;
    for (auto& token : tokens) {  // all of them, so that time says nothing
        if (CRYPTO_memcmp(token.hash.data(), hash.data(), kHashDigits) == 0) found = &token;
    }
    if (found == nullptr) return refused("the join token is not one of this cluster");
    if (found->revoked) return refused(fmt::format("the join token {} was revoked", found->id()));
    if (found->expires <= now)
        return refused(fmt::format("the join token {} has expired", found->id()));
    if (found->uses_left == 0)
        return refused(fmt::format("the join token {} is used up", found->id()));
    if (nodes.size() >= kMaxNodes)
        return error(ErrorCode::kResourceExhausted,
                     fmt::format("{} nodes have joined already", kMaxNodes));
    --found->uses_left;
    nodes.push_back(free_name(nodes, wanted));
    return nodes.back();
}

bool Enrolments::is_revoked(const std::string& name) const {
    return std::ranges::find(revoked, name) != revoked.end();
}

Status Enrolments::revoke_node(const std::string& name) {
    if (std::ranges::find(nodes, name) == nodes.end())
        return error(ErrorCode::kNotFound,
                     fmt::format("no node {} has joined; there are: {}", name,
                                 nodes.empty() ? "none" : fmt::to_string(fmt::join(nodes, ", "))));
    if (!is_revoked(name)) revoked.push_back(name);
    return {};
}

std::string to_json(const Enrolments& enrolments) {
    json::array tokens;
    for (const auto& t : enrolments.tokens) {
        tokens.push_back(
            json::object{{"hash", t.hash},
                         {"expires", std::int64_t{t.expires.time_since_epoch().count()}},
                         {"uses_left", std::int64_t{t.uses_left}},
                         {"revoked", t.revoked}});
    }
    const auto names = [](const std::vector<std::string>& all) {
        return json::array(all.begin(), all.end());
    };
    return json::serialize(json::object{{"tokens", std::move(tokens)},
                                        {"nodes", names(enrolments.nodes)},
                                        {"revoked", names(enrolments.revoked)}});
}

Result<Enrolments> parse_enrolments(std::string_view text) {
    boost::system::error_code ec;
    const json::value value = json::parse(json::string_view(text.data(), text.size()), ec);
    const auto bad = [](const char* why) { return error(ErrorCode::kCorrupt, why); };
    if (ec || !value.is_object()) return bad("not a list of join tokens");
    const auto* tokens = value.get_object().if_contains("tokens");
    const auto* nodes = value.get_object().if_contains("nodes");
    if (tokens == nullptr || !tokens->is_array() || nodes == nullptr || !nodes->is_array())
        return bad("not a list of join tokens");
    if (tokens->get_array().size() > kMaxTokens) return bad("too many join tokens");
    Enrolments enrolments;
    for (const auto& t : tokens->get_array()) {
        POTLUCK_ASSIGN(TokenRecord record, parse_record(t));
        enrolments.tokens.push_back(std::move(record));
    }
    POTLUCK_TRY(parse_names(nodes->get_array(), enrolments.nodes));
    // Files of before there was revocation do not have it.
    if (const auto* revoked = value.get_object().if_contains("revoked")) {
        if (!revoked->is_array()) return bad("not a list of revoked nodes");
        POTLUCK_TRY(parse_names(revoked->get_array(), enrolments.revoked));
    }
    return enrolments;
}

}  // namespace potluck::security
