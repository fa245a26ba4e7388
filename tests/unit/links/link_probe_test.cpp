// Links are measured over the cluster's own connections, and whoever answers is not at the mercy of
// whoever asks.

#include "links/link_probe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "tests/unit/links/two_nodes.h"

namespace potluck::links {
namespace {

using ::testing::HasSubstr;

class LinkProbes : public TwoNodes {
  protected:
    /// The cellar welcomes everybody; `serve` says what is done with them.
    void SetUp() override {
        server_ = node(kCellar);
        client_ = node(kAttic);
        listener_ = listen(*server_, [this](const proto::Control& message) {
            EXPECT_EQ(message.hello().role(), proto::Hello::PROBE);
            answer(make_hello(proto::Hello::PROBE, "cellar"));
            serve_(accepted_->release());
        });
    }
    std::unique_ptr<LinkProbe> probe() {
        return std::make_unique<LinkProbe>(*client_, Destination{listener_->address(), kCellar},
                                           "attic", [this](auto figures) { got_ = figures; });
    }
    std::unique_ptr<transport::Transport> server_, client_;
    std::unique_ptr<transport::Listener> listener_;
    LinkProbeServer probes_;
    std::function<void(std::shared_ptr<transport::Connection>)> serve_ = [this](auto connection) {
        probes_.serve(std::move(connection));
    };
    std::optional<Result<LinkFigures>> got_;
};

TEST_F(LinkProbes, RoundTripsAndRateAreMeasured) {
    const auto running = probe();
    run_until([&] { return got_.has_value(); });
    ASSERT_TRUE(got_ && *got_) << (got_ ? got_->error().message : "nothing");
    EXPECT_GT((*got_)->rtt.count(), 0);
    EXPECT_GT((*got_)->bytes_per_s, 0U);
}

TEST_F(LinkProbes, ACancelledOneSaysNothing) {
    auto running = probe();
    run_until([&] { return accepted_ != nullptr; });
    running.reset();
    loop_.run_for(std::chrono::milliseconds(50));
    EXPECT_FALSE(got_);
}

TEST_F(LinkProbes, ACloseIsAnError) {
    serve_ = [](auto connection) { connection->close(); };
    const auto running = probe();
    run_until([&] { return got_.has_value(); });
    ASSERT_TRUE(got_);
    EXPECT_FALSE(*got_);
}

/// Answers pings that were never sent.
class Liar final : public transport::Receiver {
  public:
    explicit Liar(std::shared_ptr<transport::Connection> c) : connection(std::move(c)) {}
    Result<std::span<std::byte>> on_head(std::span<const std::byte>, std::size_t n) override {
        space.resize(n);
        return std::span(space);
    }
    Status on_frame(std::span<const std::byte>, std::span<std::byte>) override {
        proto::Control answer;
        answer.mutable_pong()->set_nonce(77);
        return connection->send(proto::encode_control(answer), {}, {});
    }
    void on_closed(const Error&) override { connection.reset(); }
    std::shared_ptr<transport::Connection> connection;
    std::vector<std::byte> space;
};

TEST_F(LinkProbes, AnAnswerToWhatWasNotAskedEndsIt) {
    std::weak_ptr<transport::Connection> lying;
    serve_ = [&](auto connection) {
        lying = connection;
        auto* raw = connection.get();
        raw->start(std::make_shared<Liar>(std::move(connection)));
    };
    const auto running = probe();
    run_until([&] { return got_.has_value(); });
    ASSERT_TRUE(got_ && !*got_);
    EXPECT_THAT(got_->error().message, HasSubstr("answer of its own"));
    run_until([&] { return lying.expired(); });
    EXPECT_TRUE(lying.expired());
}

/// A client of the answering side that does as a test says.
class Client final : public transport::Receiver {
  public:
    Result<std::span<std::byte>> on_head(std::span<const std::byte>, std::size_t) override {
        return error(ErrorCode::kCorrupt, "a payload");
    }
    Status on_frame(std::span<const std::byte>, std::span<std::byte>) override {
        ++answers;
        return {};
    }
    void on_closed(const Error&) override { closed = true; }
    std::size_t answers = 0;
    bool closed = false;
};

TEST_F(LinkProbes, TheAnsweringSideIsBounded) {
    std::shared_ptr<transport::Connection> connection;
    const auto client = std::make_shared<Client>();
    dial_and_greet(*client_, {listener_->address(), kCellar}, {}, std::chrono::seconds(10),
                   make_hello(proto::Hello::PROBE, "attic"), [&](auto made) {
                       ASSERT_TRUE(made);
                       connection = made->connection;
                   });
    run_until([&] { return connection != nullptr; });
    ASSERT_NE(connection, nullptr);
    connection->start(client);
    proto::Control ping;
    ping.mutable_ping()->set_nonce(1);
    for (std::size_t i = 0; i < kProbePings + kProbeFrames + 1; ++i)
        ASSERT_TRUE(connection->send(proto::encode_control(ping), {}, {}));
    run_until([&] { return client->closed; });
    EXPECT_TRUE(client->closed);
    EXPECT_LE(client->answers, kProbePings + kProbeFrames);
}

}  // namespace
}  // namespace potluck::links
