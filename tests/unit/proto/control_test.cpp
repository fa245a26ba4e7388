// Control messages as frames, and the choice of a version.

#include "proto/control.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/unit/proto/wire_data.h"

namespace potluck::proto {
namespace {

using ::testing::HasSubstr;

Control hello() {
    Control control;
    auto* hello = control.mutable_hello();
    hello->set_version_min(kWireVersionMin);
    hello->set_version_max(kWireVersionMax);
    hello->set_role(Hello::DATA);
    hello->set_node_name("attic");
    hello->add_features("tap");
    hello->set_epoch(0x0102030405060708);
    return control;
}

void expect_error(const Result<Control>& result, ErrorCode code, const char* message) {
    ASSERT_FALSE(result);
    EXPECT_EQ(to_string(result.error().code), to_string(code));
    EXPECT_THAT(result.error().message, HasSubstr(message));
}

TEST(Control, RoundTrip) {
    const auto bytes = encode_control(hello());
    EXPECT_TRUE(is_control(bytes));
    const auto decoded = decode_control(bytes);
    ASSERT_TRUE(decoded) << decoded.error().message;
    EXPECT_EQ(decoded->SerializeAsString(), hello().SerializeAsString());
    EXPECT_EQ(decoded->hello().epoch(), 0x0102030405060708U);
}

TEST(Control, GoldenRegisterOfBeforeDevicesWereMeasured) {
    const auto golden = read_hex("control_register.hex");
    ASSERT_FALSE(golden.empty());
    const auto decoded = decode_control(golden);
    ASSERT_TRUE(decoded) << decoded.error().message;
    const auto& registration = decoded->register_();
    EXPECT_EQ(registration.data_address(), "h:1");
    EXPECT_FALSE(registration.probes_links());
    ASSERT_EQ(registration.devices_size(), 1);
    EXPECT_EQ(registration.devices(0).free_bytes(), std::uint64_t{1} << 33);
    EXPECT_FALSE(registration.devices(0).has_probe());
    EXPECT_EQ(encode_control(*decoded), golden);
}

TEST(Control, GoldenPing) {
    Control control;
    control.mutable_ping()->set_nonce(300);
    const auto golden = read_hex("control_ping.hex");
    ASSERT_FALSE(golden.empty());
    EXPECT_EQ(encode_control(control), golden);
}

TEST(Control, DataFramesAreNotControl) {
    EXPECT_FALSE(is_control(read_hex("rows.hex")));
    expect_error(decode_control(read_hex("rows.hex")), ErrorCode::kCorrupt, "control.magic");
    expect_error(decode_control({}), ErrorCode::kCorrupt, "control.magic");
}

TEST(Control, BrokenBytesAreRefused) {
    auto bytes = encode_control(hello());
    auto version = bytes;
    put(version, 4, 2, 4);
    expect_error(decode_control(version), ErrorCode::kUnsupported, "control.version: 2");
    auto cut = bytes;
    cut.pop_back();
    expect_error(decode_control(cut), ErrorCode::kCorrupt, "parsed");
    bytes.resize(kControlPrefixBytes);
    expect_error(decode_control(bytes), ErrorCode::kUnsupported, "control.message");
    bytes.resize(kControlPrefixBytes + kMaxControlBytes + 1);
    expect_error(decode_control(bytes), ErrorCode::kCorrupt, "are more than");
}

TEST(Control, AMessageOfALaterVersionIsUnsupported) {
    auto bytes = encode_control(Control{});
    // Field 2000, a message of 0 bytes: what a newer peer's oneof may hold.
    for (const unsigned b : {0x82U, 0x7DU, 0x00U})
        bytes.push_back(static_cast<std::byte>(b));
    expect_error(decode_control(bytes), ErrorCode::kUnsupported, "control.message");
}

TEST(Control, WhatCannotBeParsedFillsNoLog) {
    Control control;
    control.mutable_failed()->set_error("broken here");
    auto bytes = encode_control(control);
    bytes.back() = std::byte{0xFF};
    testing::internal::CaptureStderr();
    expect_error(decode_control(bytes), ErrorCode::kCorrupt, "cannot be parsed");
    EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST(Control, StringsThatAreNotUtf8Survive) {
    Control control;
    control.mutable_failed()->set_error(
        "cannot open /m\xC3\xB6"
        "del\xFF.gguf");
    auto decoded = decode_control(encode_control(control));
    ASSERT_TRUE(decoded) << decoded.error().message;
    EXPECT_EQ(decoded->failed().error(),
              "cannot open /m\xC3\xB6"
              "del?.gguf");

    auto* stage = control.mutable_register_()->add_devices();
    stage->set_name("gpu\xED\xA0\x80");
    stage->add_weight_types("Q4_K");
    stage->add_weight_types("\xC0\x80");
    decoded = decode_control(encode_control(control));
    ASSERT_TRUE(decoded) << decoded.error().message;
    EXPECT_EQ(decoded->register_().devices(0).name(), "gpu???");
    EXPECT_EQ(decoded->register_().devices(0).weight_types(0), "Q4_K");
    EXPECT_EQ(decoded->register_().devices(0).weight_types(1), "??");
}

TEST(Control, ToUtf8KeepsWhatIsValid) {
    const std::string valid = "aé中😀\xF4\x8F\xBF\xBF";
    EXPECT_EQ(to_utf8(valid), valid);
    EXPECT_EQ(to_utf8(""), "");
    EXPECT_EQ(to_utf8("\xE2\x82"), "??");            // cut off
    EXPECT_EQ(to_utf8("\xE0\x80\x80"), "???");       // overlong
    EXPECT_EQ(to_utf8("\xF4\x90\x80\x80"), "????");  // above U+10FFFF
    EXPECT_EQ(to_utf8("\xF0\x8F\xBF\xBF"), "????");  // overlong
    EXPECT_EQ(to_utf8("x\x80y"), "x?y");             // continuation alone
}

TEST(Negotiate, PicksTheHighestCommonVersion) {
    EXPECT_EQ(negotiate(1, 1, 1, 1).value(), 1);
    EXPECT_EQ(negotiate(1, 3, 2, 5).value(), 3);
    EXPECT_EQ(negotiate(2, 5, 1, 3).value(), 3);
    EXPECT_EQ(negotiate(1, 1, 1, 70000).value(), 1);
}

TEST(Negotiate, SaysWhoMustUpdate) {
    const auto newer = negotiate(1, 2, 3, 4);
    ASSERT_FALSE(newer);
    EXPECT_EQ(newer.error().code, ErrorCode::kUnsupported);
    EXPECT_THAT(newer.error().message, HasSubstr("this side speaks 1 to 2, the peer 3 to 4"));
    EXPECT_THAT(newer.error().message, HasSubstr("update this side"));
    const auto older = negotiate(3, 4, 1, 2);
    ASSERT_FALSE(older);
    EXPECT_THAT(older.error().message, HasSubstr("update the peer"));
}

TEST(Negotiate, RefusesNonsense) {
    for (const auto& [low, high] : {std::pair{3U, 2U}, std::pair{0U, 0U}}) {
        const auto result = negotiate(1, 1, low, high);
        ASSERT_FALSE(result);
        EXPECT_EQ(result.error().code, ErrorCode::kCorrupt);
    }
}

}  // namespace
}  // namespace potluck::proto
