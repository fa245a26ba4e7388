// Paces as text and as times, and a paced stage with a clock that is told what time it is.

#include "engine/pace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "engine/paced_model.h"

namespace potluck::engine {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

nanoseconds time_of(std::string_view text, std::size_t rows, nanoseconds measured = 1ms) {
    const auto pace = Pace::parse(text);
    EXPECT_TRUE(pace) << text;
    return pace ? pace->time(rows, measured) : nanoseconds(-1);
}

TEST(Pace, ConstantAndPerRow) {
    EXPECT_EQ(time_of("10ms", 1), 10ms);
    EXPECT_EQ(time_of("10ms", 500), 10ms);
    EXPECT_EQ(time_of("8ms+0.5ms", 1), 8500us);
    EXPECT_EQ(time_of("8ms+0.5ms", 2), 9ms);
    EXPECT_EQ(time_of("8ms+0.5ms", 64), 40ms);
    EXPECT_EQ(time_of("250us", 3), 250us);
    EXPECT_EQ(time_of("1s+1us", 1), 1000001us);
}

TEST(Pace, FactorOfTheMeasured) {
    EXPECT_EQ(time_of("x3", 7, 2ms), 6ms);
    EXPECT_EQ(time_of("x1.5", 1, 2ms), 3ms);
}

TEST(Pace, TableBetweenBeforeAndBeyond) {
    const char* table = "2:10ms/4:20ms/8:30ms";
    EXPECT_EQ(time_of(table, 1), 10ms);
    EXPECT_EQ(time_of(table, 2), 10ms);
    EXPECT_EQ(time_of(table, 3), 15ms);
    EXPECT_EQ(time_of(table, 4), 20ms);
    EXPECT_EQ(time_of(table, 6), 25ms);
    EXPECT_EQ(time_of(table, 16), 50ms);
    EXPECT_EQ(time_of("5:7ms", 100), 7ms);
    EXPECT_EQ(time_of("1:10ms/4:4ms", 40), 4ms) << "never falls below the last entry";
}

TEST(Pace, RefusesWhatIsNone) {
    for (const char* text :
         {"",         "10",     "ms",          "-1ms",        "0ms",     "61s",
          "10 ms",    "nanms",  "infms",       "1e99ms",      "10ms+",   "+1ms",
          "10ms+0ms", "10ms+1", "x",           "x0.5",        "x1001",   "xnan",
          "3x",       "0:1ms",  "1:1ms/1:2ms", "2:1ms/1:2ms", "1:1ms/",  "1:1ms//2:2ms",
          "/",        ":",      "1:",          ":1ms",        "nan:1ms", "1:1ms/2"}) {
        const auto pace = Pace::parse(text);
        if (std::string_view(text) == "1:1ms/") {
            EXPECT_TRUE(pace) << "a closing slash is harmless";
            continue;
        }
        ASSERT_FALSE(pace) << text;
        EXPECT_EQ(pace.error().code, ErrorCode::kInvalidArgument);
        EXPECT_THAT(pace.error().message, HasSubstr("pace '"));
    }
}

/// Takes `takes` for each batch, on the clock of the test.
class Inner : public StageModel {
  public:
    Inner(nanoseconds& now, nanoseconds takes) : now_(now), takes_(takes) {}
    std::size_t input_width() const override { return 3; }
    std::size_t output_width() const override { return 0; }
    std::size_t max_rows() const override { return 16; }
    Status run(const Batch& batch, std::span<const float>, std::span<float>,
               StepResult& result) override {
        now_ += takes_;
        if (batch.id.value == 13) return error(ErrorCode::kCorrupt, "thirteen");
        result.rows.assign(batch.rows.size(), {.token = 42});
        return {};
    }

  private:
    nanoseconds& now_;
    nanoseconds takes_;
};

class PacedModelTest : public ::testing::Test {
  protected:
    PacedModel make(std::string_view pace, nanoseconds takes) {
        return PacedModel(std::make_unique<Inner>(now_, takes), *Pace::parse(pace),
                          {.now = [this] { return now_; },
                           .sleep_until = [this](nanoseconds until) { slept_.push_back(until); }});
    }
    Status run(PacedModel& model, std::size_t rows, std::uint64_t id = 1) {
        Batch batch{.id = BatchId(id)};
        batch.rows.resize(rows);
        return model.run(batch, {}, {}, result_);
    }

    nanoseconds now_ = 100ms;
    std::vector<nanoseconds> slept_;
    StepResult result_;
};

TEST_F(PacedModelTest, SleepsTheRemainderAndKeepsTheResult) {
    auto model = make("10ms+1ms", 3ms);
    ASSERT_TRUE(run(model, 4));
    EXPECT_THAT(slept_, ::testing::ElementsAre(114ms)) << "until the start and 14 ms";
    ASSERT_EQ(result_.rows.size(), 4U);
    EXPECT_EQ(result_.rows[0].token, 42);
    EXPECT_EQ(model.input_width(), 3U);
    EXPECT_EQ(model.output_width(), 0U);
    EXPECT_EQ(model.max_rows(), 16U);
}

TEST_F(PacedModelTest, FactorCountsFromTheStart) {
    auto model = make("x3", 5ms);
    ASSERT_TRUE(run(model, 1));
    EXPECT_THAT(slept_, ::testing::ElementsAre(115ms));
}

/// Three milliseconds of the five are another program's.
TEST_F(PacedModelTest, FactorCountsWhatIsComputed) {
    PacedModel model(std::make_unique<Inner>(now_, 5ms), *Pace::parse("x4"),
                     {.now = [this] { return now_; },
                      .spent = [this] { return now_ * 2 / 5; },
                      .sleep_until = [this](nanoseconds until) { slept_.push_back(until); }});
    ASSERT_TRUE(run(model, 1));
    EXPECT_THAT(slept_, ::testing::ElementsAre(108ms));
    EXPECT_EQ(model.late(), 0U);
}

TEST_F(PacedModelTest, CannotBeFasterThanTheModelAndCountsIt) {
    auto model = make("2ms", 3ms);
    ASSERT_TRUE(run(model, 1));
    ASSERT_TRUE(run(model, 1));
    EXPECT_TRUE(slept_.empty());
    EXPECT_EQ(model.late(), 2U);
}

TEST_F(PacedModelTest, OperationsAloneAndErrorsAreNotPaced) {
    auto model = make("10ms", 1ms);
    ASSERT_TRUE(run(model, 0));
    EXPECT_FALSE(run(model, 1, 13));
    EXPECT_TRUE(slept_.empty());
}

TEST_F(PacedModelTest, JunkTakesNoTime) {
    auto model = make("10ms+1ms", 1ms);
    Batch batch{.id = BatchId(1)};
    batch.rows.resize(3);
    batch.rows[1].flags = batch.rows[2].flags = kRowSample | kRowJunk;
    ASSERT_TRUE(model.run(batch, {}, {}, result_));
    EXPECT_THAT(slept_, ::testing::ElementsAre(111ms)) << "one row";
    batch.rows[0].flags = kRowJunk;
    ASSERT_TRUE(model.run(batch, {}, {}, result_));
    batch.rows[0].flags = 0;
    const std::atomic<bool> given_up = true;
    model.look_at(&given_up);
    ASSERT_TRUE(model.run(batch, {}, {}, result_));
    EXPECT_EQ(slept_.size(), 1U);
}

TEST(SteadyPaceClock, DoesNotSleepForAnAbandonedBatch) {
    bool asked = false;
    const auto clock = steady_pace_clock([&] { return asked = true; });
    clock.sleep_until(clock.now() + 24h);  // would not return
    EXPECT_TRUE(asked);
    asked = false;
    clock.sleep_until(clock.now() - 1ms);
    EXPECT_FALSE(asked) << "that time is over";
}

}  // namespace
}  // namespace potluck::engine
