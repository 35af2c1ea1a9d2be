#include "server/engine/model_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <thread>

#include "base/errors.h"
#include "tests/server/fakes/fake_model_runner.h"
#include "tests/server/fakes/temp_directory.h"

namespace lfm2 {
namespace {

class ModelPoolTest : public testing::Test {
 protected:
  ModelPoolTest() {
    store_ = ModelStore::Open(directory_.path() / "models", directory_.path() / "hf").value();
  }

  void Publish(const std::string& name) {
    const auto made = directory_.path() / ("made-" + name);
    WriteText(made / "config.json", "{}");
    ASSERT_TRUE(store_->Publish(made, name, {}).ok());
  }

  ModelLoader Loader() {
    return [this](const ModelVersion& version) -> absl::StatusOr<std::shared_ptr<LoadedModel>> {
      ++loads_;
      if (before_load_) before_load_();
      if (fail_) return Error(Reason::kModelFileInvalid, "broken");
      auto model = MakeFakeModel({}, std::make_shared<FakeModelCounters>(), version.name);
      model->version = version.version;
      return model;
    };
  }

  // Waits for the load, as no product code does.
  static ModelPool::Acquired Acquire(ModelPool& pool, Executor& loads, const std::string& name) {
    std::promise<ModelPool::Acquired> loaded;
    auto known = pool.Acquire(name, loads,
                              [&](const ModelPool::Acquired& model) { loaded.set_value(model); });
    return known ? *std::move(known) : loaded.get_future().get();
  }
  ModelPool::Acquired Acquire(ModelPool& pool, const std::string& name) {
    return Acquire(pool, executor_, name);
  }
  // For a model that nobody else holds: the thread that loaded it lets go of it after the call, and
  // only then it can be idle.
  ModelPool::Acquired AcquireSettled(ModelPool& pool, const std::string& name) {
    ModelPool::Acquired model = Acquire(pool, name);
    while (model.ok() && model->use_count() > 2) std::this_thread::yield();
    return model;
  }

  TempDirectory directory_;
  std::unique_ptr<ModelStore> store_;
  Executor executor_{2, 16};
  std::atomic<int> loads_{0};
  std::atomic<bool> fail_{false};
  std::function<void()> before_load_;
};

TEST_F(ModelPoolTest, LoadsAtTheFirstUseOnly) {
  Publish("a");
  ModelPool pool(*store_, Loader(), 2);
  EXPECT_EQ(pool.Find("a", "v1"), nullptr);
  const auto first = Acquire(pool, "a").value();
  EXPECT_EQ(Acquire(pool, "a@v1").value(), first);
  EXPECT_EQ(pool.Find("a", "v1"), first);
  EXPECT_EQ(loads_, 1);
}

TEST_F(ModelPoolTest, LoadsANewVersionBesideTheOldOne) {
  Publish("a");
  ModelPool pool(*store_, Loader(), 2);
  const auto first = Acquire(pool, "a").value();
  Publish("a");
  const auto second = Acquire(pool, "a").value();
  EXPECT_EQ(second->version, "v2");
  EXPECT_EQ(Acquire(pool, "a@v1").value(), first);
}

TEST_F(ModelPoolTest, ConcurrentCallersWaitForOneLoad) {
  Publish("a");
  std::promise<void> go;
  const std::shared_future<void> gate = go.get_future().share();
  before_load_ = [gate] { gate.wait(); };
  ModelPool pool(*store_, Loader(), 2);
  std::vector<std::promise<std::shared_ptr<LoadedModel>>> callers(6);
  for (auto& caller : callers) {
    EXPECT_FALSE(
        pool.Acquire("a", executor_,
                     [&caller](const ModelPool::Acquired& model) { caller.set_value(*model); })
            .has_value());
  }
  while (loads_ == 0) std::this_thread::yield();
  EXPECT_EQ(pool.Find("a", "v1"), nullptr);
  EXPECT_TRUE(pool.Loaded().empty());
  go.set_value();
  const auto first = callers[0].get_future().get();
  for (size_t i = 1; i < callers.size(); ++i) EXPECT_EQ(callers[i].get_future().get(), first);
  EXPECT_EQ(loads_, 1);
  EXPECT_EQ(pool.Loaded().size(), 1U);
}

TEST_F(ModelPoolTest, GoesOnWhereItsCallerSaysAfterALoadAndAtOnceWithoutOne) {
  Publish("a");
  ModelPool pool(*store_, Loader(), 2);
  std::promise<std::function<void()>> resumed;
  int resumes = 0;
  std::vector<ModelPool::Acquired> answers;
  const ModelPool::Resume resume = [&](std::function<void()> work) {
    ++resumes;
    resumed.set_value(std::move(work));
  };
  const ModelPool::Ready then = [&](const ModelPool::Acquired& model) { answers.push_back(model); };

  pool.AcquireThen("a", executor_, resume, then);
  const std::function<void()> work = resumed.get_future().get();
  EXPECT_TRUE(answers.empty());
  work();
  ASSERT_EQ(answers.size(), 1U);
  EXPECT_EQ(*answers[0], pool.Find("a", "v1"));

  pool.AcquireThen("a", executor_, resume, then);
  ASSERT_EQ(answers.size(), 2U);
  EXPECT_EQ(*answers[1], *answers[0]);

  pool.AcquireThen("absent", executor_, resume, then);
  ASSERT_EQ(answers.size(), 3U);
  EXPECT_EQ(DetailsOf(answers[2].status()).reason, Reason::kModelNotFound);
  EXPECT_EQ(resumes, 1);
}

TEST_F(ModelPoolTest, AsksToRetryWhenTooManyLoadsWait) {
  for (const char* name : {"a", "b", "c"}) Publish(name);
  std::promise<void> go;
  const std::shared_future<void> gate = go.get_future().share();
  before_load_ = [gate] { gate.wait(); };
  ModelPool pool(*store_, Loader(), 8);
  std::vector<ModelPool::Acquired> answers;
  Mutex mutex;
  Executor one(1, 1);
  const auto ready = [&](const ModelPool::Acquired& model) {
    MutexLock lock(mutex);
    answers.push_back(model);
  };
  EXPECT_FALSE(pool.Acquire("a", one, ready).has_value());
  while (loads_ == 0) std::this_thread::yield();
  EXPECT_FALSE(pool.Acquire("b", one, ready).has_value());
  EXPECT_FALSE(pool.Acquire("c", one, ready).has_value());
  {
    MutexLock lock(mutex);
    ASSERT_EQ(answers.size(), 1U);
    EXPECT_EQ(DetailsOf(answers[0].status()).reason, Reason::kModelLoading);
    EXPECT_TRUE(DetailsOf(answers[0].status()).retry_after_ms.has_value());
  }
  go.set_value();
}

TEST_F(ModelPoolTest, TurnsWhatALoaderThrowsIntoItsFailure) {
  Publish("a");
  before_load_ = [] { throw std::runtime_error("odd"); };
  ModelPool pool(*store_, Loader(), 2);
  EXPECT_EQ(DetailsOf(Acquire(pool, "a").status()).reason, Reason::kInternal);
  before_load_ = nullptr;
  EXPECT_TRUE(Acquire(pool, "a").ok());
}

TEST_F(ModelPoolTest, DropsTheLeastRecentlyUsedIdleModel) {
  for (const char* name : {"a", "b", "c"}) Publish(name);
  ModelPool pool(*store_, Loader(), 2);
  for (const char* name : {"a", "b", "a", "c"}) {
    ASSERT_TRUE(AcquireSettled(pool, name).ok());
  }
  EXPECT_NE(pool.Find("a", "v1"), nullptr);
  EXPECT_EQ(pool.Find("b", "v1"), nullptr);
  EXPECT_NE(pool.Find("c", "v1"), nullptr);
}

TEST_F(ModelPoolTest, KeepsWhatIsInUseAndAsksToRetryWhenEverythingIs) {
  for (const char* name : {"a", "b", "c"}) Publish(name);
  ModelPool pool(*store_, Loader(), 2);
  auto a = AcquireSettled(pool, "a").value();
  auto b = AcquireSettled(pool, "b").value();
  const absl::Status status = Acquire(pool, "c").status();
  EXPECT_EQ(DetailsOf(status).reason, Reason::kModelLoading);
  EXPECT_TRUE(DetailsOf(status).retry_after_ms.has_value());
  b.reset();
  EXPECT_TRUE(Acquire(pool, "c").ok());
  EXPECT_EQ(pool.Find("a", "v1"), a);
  EXPECT_EQ(pool.Find("b", "v1"), nullptr);
}

TEST_F(ModelPoolTest, FreesTheDroppedModelBeforeItLoadsTheNext) {
  for (const char* name : {"a", "b"}) Publish(name);
  ModelPool pool(*store_, Loader(), 1);
  const std::weak_ptr<LoadedModel> a = AcquireSettled(pool, "a").value();
  bool freed = false;
  before_load_ = [&] { freed = a.expired(); };
  ASSERT_TRUE(Acquire(pool, "b").ok());
  EXPECT_TRUE(freed);
}

TEST_F(ModelPoolTest, DoesNotRememberALoadThatFailed) {
  Publish("a");
  ModelPool pool(*store_, Loader(), 1);
  fail_ = true;
  EXPECT_EQ(DetailsOf(Acquire(pool, "a").status()).reason, Reason::kModelFileInvalid);
  fail_ = false;
  EXPECT_TRUE(Acquire(pool, "a").ok());
  EXPECT_EQ(loads_, 2);
}

TEST_F(ModelPoolTest, PassesTheStoresErrorsOn) {
  ModelPool pool(*store_, Loader(), 1);
  EXPECT_EQ(DetailsOf(Acquire(pool, "nothing").status()).reason, Reason::kModelNotFound);
  EXPECT_EQ(DetailsOf(Acquire(pool, "../up").status()).reason, Reason::kPathOutsideRoot);
}

TEST_F(ModelPoolTest, HoldsToItsCapacityUnderManyCallers) {
  const std::vector<std::string> names = {"a", "b", "c", "d"};
  for (const std::string& name : names) Publish(name);
  ModelPool pool(*store_, Loader(), 2);
  std::atomic<int> wrong{0}, right{0};
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (unsigned i = 0; i < 100; ++i) {
        const std::string& name = names[(i * (t + 1)) % names.size()];
        const auto model = Acquire(pool, name);
        if (model.ok()) {
          (*model)->name == name ? ++right : ++wrong;
        } else if (DetailsOf(model.status()).reason != Reason::kModelLoading) {
          ++wrong;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(right, 0);
  int loaded = 0;
  for (const std::string& name : names) loaded += pool.Find(name, "v1") != nullptr;
  EXPECT_LE(loaded, 2);
}

}  // namespace
}  // namespace lfm2
