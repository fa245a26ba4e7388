// Fetching over real sockets: several holders, some of which lie, lack or leave.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include "tests/support/tiny_model.h"
#include "tests/unit/gguf/temporary_folder.h"
#include "tests/unit/weights/support.h"
#include "transport/tcp.h"
#include "weights/service/fetcher.h"
#include "weights/service/messages.h"
#include "weights/service/server.h"

namespace potluck::weights {
namespace {

using potluck::test::must;
using test::make_sample;
using test::Sample;
using ::testing::HasSubstr;

/// Has samples in memory. `spoil` may change a chunk before it is sent.
class MemoryHolder final : public Holder {
  public:
    using Spoil = std::function<void(std::uint64_t chunk, std::span<std::byte> bytes)>;
    explicit MemoryHolder(std::vector<Sample> samples, Spoil spoil = {})
        : spoil_(std::move(spoil)) {
        for (auto& sample : samples)
            samples_[sample.ref.root] = std::move(sample);
    }
    Result<ObjectRef> manifest(const Digest& fingerprint, const HashProgress& progress) override {
        const auto found = samples_.find(fingerprint);
        if (found == samples_.end()) return error(ErrorCode::kNotFound, "another model");
        if (!progress(1, 2)) return error(ErrorCode::kCancelled, "stopped");
        return found->second.ref;
    }
    Result<std::vector<Digest>> leaves(const Digest& root) override {
        const auto found = samples_.find(root);
        if (found == samples_.end()) return error(ErrorCode::kNotFound, "not here");
        return found->second.leaves;
    }
    Result<std::size_t> read(const Digest& root, std::uint64_t chunk,
                             std::span<std::byte> to) override {
        const auto found = samples_.find(root);
        if (found == samples_.end()) return error(ErrorCode::kNotFound, "not here");
        const auto bytes = found->second.chunk(chunk);
        std::ranges::copy(bytes, to.begin());
        if (spoil_) spoil_(chunk, to.first(bytes.size()));
        return bytes.size();
    }

  private:
    std::map<Digest, Sample> samples_;
    Spoil spoil_;
};

/// A server on a thread of its own.
class Serving {
  public:
    explicit Serving(std::unique_ptr<Holder> holder, ServerOptions options = {})
        : transport_(transport::make_tcp_transport(loop_)) {
        server_ = std::make_unique<Server>(loop_, std::move(holder), options);
        transport::Limits limits;
        listener_ = must(transport_->listen("127.0.0.1:0", limits, [this](auto connection) {
            auto link = std::make_shared<std::shared_ptr<links::ControlLink>>();
            *link = links::ControlLink::attach(
                std::move(connection), {.on_message =
                                            [this, link](const proto::Control& message) {
                                                const auto self = std::exchange(*link, nullptr);
                                                if (message.has_hello() && server_)
                                                    server_->welcome(self);
                                            },
                                        .on_closed = [link](const Error&) { link->reset(); }});
        }));
        address_ = listener_->address();
        thread_ = std::thread([this] {
            const auto work = boost::asio::make_work_guard(loop_);
            loop_.run();
        });
    }
    ~Serving() {
        stop();
        boost::asio::post(loop_, [this] { loop_.stop(); });
        thread_.join();
    }
    /// Its connections end, and nobody can dial it.
    void stop() {
        std::atomic<bool> done = false;
        boost::asio::post(loop_, [&] {
            listener_.reset();
            server_.reset();
            done = true;
        });
        while (!done)
            std::this_thread::yield();
    }
    links::Destination destination() const { return {address_, {}}; }

  private:
    boost::asio::io_context loop_{1};
    std::unique_ptr<transport::Transport> transport_;
    std::unique_ptr<Server> server_;
    std::unique_ptr<transport::Listener> listener_;
    std::string address_;
    std::thread thread_;
};

class FetchTest : public ::testing::Test {
  protected:
    Store store() const { return must(Store::open({folder_.path(), 256U << 20})); }
    static std::unique_ptr<Fetcher> fetcher(std::vector<links::Destination> holders,
                                            std::function<bool()> cancelled = {}) {
        return must(Fetcher::create(
            {.node_name = "test", .holders = std::move(holders), .cancelled = std::move(cancelled)},
            [](boost::asio::io_context& loop) -> Result<std::unique_ptr<transport::Transport>> {
                return transport::make_tcp_transport(loop);
            }));
    }
    static std::vector<ObjectRef> refs(const std::vector<Sample>& samples) {
        std::vector<ObjectRef> all;
        for (const auto& sample : samples)
            all.push_back(sample.ref);
        return all;
    }
    static void expect_equal(const std::vector<StoredObject>& objects,
                             const std::vector<Sample>& samples) {
        for (std::size_t i = 0; i < samples.size(); ++i) {
            ASSERT_TRUE(objects[i].complete()) << i;
            EXPECT_TRUE(std::ranges::equal(must(objects[i].map()).bytes(), samples[i].bytes)) << i;
        }
    }
    /// Small ones and some of many chunks.
    static std::vector<Sample> some_samples() {
        std::vector<Sample> samples;
        for (std::uint64_t i = 0; i < 40; ++i)
            samples.push_back(make_sample(1 + i * 37, i));
        for (std::uint64_t i = 0; i < 4; ++i)
            samples.push_back(make_sample((3 + i * 2) * kChunkBytes + i * 999, 100 + i));
        return samples;
    }
    static std::uint64_t total(const std::vector<Sample>& samples) {
        std::uint64_t bytes = 0;
        for (const auto& sample : samples)
            bytes += sample.bytes.size();
        return bytes;
    }
    model::gguf::test::TemporaryFolder folder_;
};

TEST_F(FetchTest, EveryHolderHelpsAndASecondTimeMovesNothing) {
    const auto samples = some_samples();
    Serving one(std::make_unique<MemoryHolder>(samples));
    Serving two(std::make_unique<MemoryHolder>(samples));
    auto where = store();
    {
        auto objects = must(where.acquire(refs(samples), {}));
        const auto fetch = fetcher({one.destination(), two.destination()});
        must(fetch->complete(objects));
        expect_equal(objects, samples);
        EXPECT_EQ(fetch->counts().fetched_bytes, total(samples));
        EXPECT_EQ(fetch->counts().dropped, 0U);
    }
    auto objects = must(where.acquire(refs(samples), {}));
    const auto fetch = fetcher({one.destination(), two.destination()});
    must(fetch->complete(objects));
    expect_equal(objects, samples);
    EXPECT_EQ(fetch->counts().fetched_bytes, 0U);
}

TEST_F(FetchTest, AHolderThatLiesIsDroppedAndTheOthersGoOn) {
    const auto samples = some_samples();
    Serving good(std::make_unique<MemoryHolder>(samples));
    Serving liar(std::make_unique<MemoryHolder>(
        samples, [](std::uint64_t, auto bytes) { bytes[bytes.size() / 2] ^= std::byte{1}; }));
    auto where = store();
    auto objects = must(where.acquire(refs(samples), {}));
    const auto fetch = fetcher({good.destination(), liar.destination()});
    must(fetch->complete(objects));
    expect_equal(objects, samples);
    EXPECT_EQ(fetch->counts().holders, 1U);
    EXPECT_LE(fetch->counts().dropped, 1U);  // unless the other one was faster than its first byte
}

TEST_F(FetchTest, ALiarAloneGivesNothing) {
    const std::vector<Sample> samples = {make_sample(5 * kChunkBytes, 1)};
    Serving liar(std::make_unique<MemoryHolder>(samples, [](std::uint64_t chunk, auto bytes) {
        if (chunk == 3) bytes[0] ^= std::byte{1};
    }));
    auto where = store();
    auto objects = must(where.acquire(refs(samples), {}));
    const auto fetch = fetcher({liar.destination()});
    const auto failed = fetch->complete(objects);
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().code, ErrorCode::kPeerLost);
    EXPECT_EQ(fetch->counts().dropped, 1U);
    EXPECT_FALSE(objects[0].has(3));
    EXPECT_TRUE(objects[0].has(0)) << "what was right is kept";
}

TEST_F(FetchTest, WhatOneLacksAnotherGives) {
    const auto samples = some_samples();
    const std::vector<Sample> first(samples.begin(), samples.begin() + 41);
    const std::vector<Sample> second(samples.begin() + 30, samples.end());
    Serving one(std::make_unique<MemoryHolder>(first));
    Serving two(std::make_unique<MemoryHolder>(second));
    auto where = store();
    auto objects = must(where.acquire(refs(samples), {}));
    must(fetcher({one.destination(), two.destination()})->complete(objects));
    expect_equal(objects, samples);
}

TEST_F(FetchTest, WhatNobodyHasIsSaid) {
    const auto samples = some_samples();
    Serving one(std::make_unique<MemoryHolder>(std::vector<Sample>{samples[0]}));
    auto where = store();
    auto objects = must(where.acquire(refs(samples), {}));
    const auto failed = fetcher({one.destination()})->complete(objects);
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().code, ErrorCode::kNotFound);
    EXPECT_THAT(failed.error().message, HasSubstr("not here"));
}

/// Gives a few chunks, then waits to be let go.
struct Hesitation {
    std::atomic<int> given = 0;
    std::atomic<bool> let_go = false;
    MemoryHolder::Spoil spoil() {
        return [this](std::uint64_t, std::span<std::byte>) {
            if (++given > 4)
                while (!let_go)
                    std::this_thread::yield();
        };
    }
};

TEST_F(FetchTest, AFetchThatWasStoppedGoesOnLater) {
    const std::vector<Sample> samples = {make_sample(12 * kChunkBytes, 7)};
    Hesitation hesitation;
    Serving holder(std::make_unique<MemoryHolder>(samples, hesitation.spoil()));
    auto where = store();
    {
        auto objects = must(where.acquire(refs(samples), {}));
        const auto fetch = fetcher({holder.destination()}, [&] { return hesitation.given > 4; });
        const auto ended = fetch->complete(objects);
        hesitation.let_go = true;
        ASSERT_FALSE(ended);
        EXPECT_EQ(ended.error().code, ErrorCode::kCancelled);
    }
    auto objects = must(where.acquire(refs(samples), {}));
    const std::uint64_t left = objects[0].missing_bytes();
    const auto fetch = fetcher({holder.destination()});
    must(fetch->complete(objects));
    expect_equal(objects, samples);
    EXPECT_EQ(fetch->counts().fetched_bytes, left);
}

TEST_F(FetchTest, NobodyWaitsForASlowHolder) {
    const auto samples = some_samples();
    Hesitation hesitation;
    Serving slow(std::make_unique<MemoryHolder>(samples, hesitation.spoil()));
    Serving fast(std::make_unique<MemoryHolder>(samples));
    auto where = store();
    auto objects = must(where.acquire(refs(samples), {}));
    const auto fetch = fetcher({slow.destination(), fast.destination()});
    const auto done = fetch->complete(objects);  // although most of what `slow` owes never comes
    hesitation.let_go = true;
    must(done);
    expect_equal(objects, samples);
    EXPECT_EQ(fetch->counts().fetched_bytes, total(samples));
}

TEST_F(FetchTest, AHolderThatLeavesIsReplaced) {
    const std::vector<Sample> samples = {make_sample(24 * kChunkBytes, 9)};
    Hesitation hesitation;
    Serving leaves(std::make_unique<MemoryHolder>(samples, hesitation.spoil()));
    Serving stays(std::make_unique<MemoryHolder>(samples));
    std::thread leaving([&] {
        while (hesitation.given <= 4)
            std::this_thread::yield();
        hesitation.let_go = true;
        leaves.stop();
    });
    auto where = store();
    auto objects = must(where.acquire(refs(samples), {}));
    const auto fetch = fetcher({leaves.destination(), stays.destination()});
    const auto done = fetch->complete(objects);
    hesitation.given = 5;  // also if the other one was so fast that it gave no four chunks
    leaving.join();
    must(done);
    expect_equal(objects, samples);
}

TEST_F(FetchTest, FindsManifestsAtTheFirstHolderOnly) {
    const auto samples = some_samples();
    Serving coordinator(std::make_unique<MemoryHolder>(std::vector<Sample>{samples[3]}));
    Serving worker(std::make_unique<MemoryHolder>(samples));
    const auto fetch = fetcher({coordinator.destination(), worker.destination()});
    EXPECT_EQ(must(fetch->find_manifest(samples[3].ref.root)), samples[3].ref);
    const auto unknown = fetch->find_manifest(samples[4].ref.root);
    ASSERT_FALSE(unknown);
    EXPECT_EQ(unknown.error().code, ErrorCode::kNotFound);
    EXPECT_THAT(unknown.error().message, HasSubstr("another model"));
}

TEST_F(FetchTest, AFetchThatIsNotWantedEnds) {
    const std::vector<Sample> samples = {make_sample(100, 8)};
    auto where = store();
    auto objects = must(where.acquire(refs(samples), {}));
    // Nobody listens there; it would try for a while.
    const auto ended = fetcher({{"127.0.0.1:1", {}}}, [] { return true; })->complete(objects);
    ASSERT_FALSE(ended);
    EXPECT_EQ(ended.error().code, ErrorCode::kCancelled);
}

// ------------------------------------------------------------------------------------- messages

TEST(WeightsMessages, SurviveARoundTrip) {
    const Digest root = make_sample(1, 1).ref.root;
    for (const Request& request :
         {Request{1, ManifestRequest{root}}, Request{2, LeavesRequest{root}},
          Request{3, RunRequest{root, 5, kMaxRunChunks}}}) {
        const auto again = must(read_request(to_message(request)));
        EXPECT_EQ(again.id, request.id);
        EXPECT_EQ(again.wanted.index(), request.wanted.index());
        EXPECT_EQ(again.answers(), request.answers());
    }
}

TEST(WeightsMessages, AreRefusedBeyondTheirBounds) {
    const Digest root = make_sample(1, 1).ref.root;
    EXPECT_FALSE(read_request(to_message({1, RunRequest{root, 0, 0}})));
    EXPECT_FALSE(read_request(to_message({1, RunRequest{root, 0, kMaxRunChunks + 1}})));
    EXPECT_FALSE(read_request(to_message({1, RunRequest{root, kMaxChunks, 1}})));
    auto message = to_message({1, LeavesRequest{root}});
    message.mutable_weights_request()->set_leaves("short");
    EXPECT_FALSE(read_request(message));
    message.mutable_weights_request()->clear_wanted();
    EXPECT_FALSE(read_request(message));
    message.mutable_ping();
    EXPECT_FALSE(read_request(message));
    proto::WeightsAnswer answer;
    EXPECT_FALSE(read_leaves(answer));
    answer.set_leaves(std::string(33, 'x'));
    EXPECT_FALSE(read_leaves(answer));
    answer.set_root(std::string(as_text(root)));
    EXPECT_FALSE(read_manifest_ref(answer)) << "no bytes";
    answer.set_object_bytes(~std::uint64_t{0});
    EXPECT_FALSE(read_manifest_ref(answer));
}

}  // namespace
}  // namespace potluck::weights
