// Health of Generation: a model answers.
#include <gtest/gtest.h>

#include <stdexcept>

#include "tests/fakes/fake_clock.h"
#include "tests/server/rpc/server_fixture.h"

namespace lfm2 {
namespace {

class GenerationHealthTest : public ServerTest {
 protected:
  GenerationHealthTest() {
    limits_.slow_reader_timeout_ms = 40;  // looks every 10 ms
    limits_.engine_stall_ms = 4000;       // tries a default model every second
    clock_ = &time_;
  }
  ~GenerationHealthTest() override {
    if (server_) server_->Shutdown(std::chrono::milliseconds(0));
    server_.reset();
    loads_.reset();
    executor_.reset();
    engine_.reset();
  }
  int Generation() { return Health("lfm2.v1.Generation"); }
  bool TurnsTo(int status) {
    return Eventually([&] { return Generation() == status; });
  }

  FakeClock time_;
};

TEST_F(GenerationHealthTest, IsDownWithoutAModelAndUpWhenThereIsOne) {
  std::filesystem::remove_all(directory_.path() / "models" / "fake");
  Start();
  EXPECT_EQ(Generation(), 2);
  EXPECT_EQ(Health(""), 1);
  EXPECT_EQ(Health("lfm2.v1.Models"), 1);
  EXPECT_FALSE(server_->stats().serving);
  PublishModel("made");
  EXPECT_TRUE(TurnsTo(1));
  EXPECT_TRUE(server_->stats().serving);
}

TEST_F(GenerationHealthTest, IsUpFromTheStartWithAModelOnDiskAndNoDefault) {
  Start();
  EXPECT_EQ(Generation(), 1);
  EXPECT_TRUE(pool_->Loaded().empty());
}

TEST_F(GenerationHealthTest, LoadsTheDefaultModelAtTheStartAndLetsItAnswer) {
  default_model_ = "fake";
  Start();
  EXPECT_TRUE(TurnsTo(1));
  EXPECT_EQ(counters_->steps, 1);
}

TEST_F(GenerationHealthTest, IsDownUntilTheDefaultModelIsThere) {
  default_model_ = "later";
  Start();
  EXPECT_EQ(Generation(), 2);
  EXPECT_TRUE(Generate(Ask("x", 2)).status.ok());  // another model
  EXPECT_EQ(Generation(), 2);
  PublishModel("later");
  time_.Advance(std::chrono::seconds(1));
  EXPECT_TRUE(TurnsTo(1));
}

TEST_F(GenerationHealthTest, IsDownWhileTheDefaultModelCannotBeLoaded) {
  default_model_ = "fake";
  std::atomic<int> loads{0};
  before_load_ = [&](const std::string&) {
    if (++loads == 1) throw std::runtime_error("broken");
  };
  Start();
  EXPECT_TRUE(Eventually([&] { return loads >= 1; }));
  EXPECT_EQ(Generation(), 2);
  time_.Advance(std::chrono::seconds(1));
  EXPECT_TRUE(TurnsTo(1));
  EXPECT_EQ(loads, 2);
}

TEST_F(GenerationHealthTest, IsDownWhileTheDefaultModelMakesNoToken) {
  default_model_ = "fake";
  std::atomic<bool> broken{true};
  std::atomic<int> asked{0};
  script_.fail_item = [&](const StepItem&) {
    ++asked;
    return broken ? Error(Reason::kInternal, "logits are not finite") : absl::OkStatus();
  };
  Start();
  EXPECT_TRUE(Eventually([&] { return asked >= 1; }));
  EXPECT_EQ(Generation(), 2);
  broken = false;
  time_.Advance(std::chrono::seconds(1));
  EXPECT_TRUE(TurnsTo(1));
}

}  // namespace
}  // namespace lfm2
