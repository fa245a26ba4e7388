#include "weights/joint_holder.h"

#include <utility>

namespace potluck::weights {
namespace {

class JointHolder final : public Holder {
  public:
    JointHolder(std::unique_ptr<Holder> first, std::unique_ptr<Holder> second)
        : first_(std::move(first)), second_(std::move(second)) {}

    Result<ObjectRef> manifest(const Digest& fingerprint, const HashProgress& progress) override {
        return ask([&](Holder& holder) { return holder.manifest(fingerprint, progress); });
    }
    Result<std::vector<Digest>> leaves(const Digest& root) override {
        return ask([&](Holder& holder) { return holder.leaves(root); });
    }
    Result<std::size_t> read(const Digest& root, std::uint64_t chunk,
                             std::span<std::byte> to) override {
        return ask([&](Holder& holder) { return holder.read(root, chunk, to); });
    }

  private:
    template <typename Question>
    auto ask(const Question& question) -> decltype(question(std::declval<Holder&>())) {
        auto answer = question(*first_);
        if (answer || answer.error().code != ErrorCode::kNotFound) return answer;
        return question(*second_);
    }

    std::unique_ptr<Holder> first_, second_;
};

}  // namespace

std::unique_ptr<Holder> make_joint_holder(std::unique_ptr<Holder> first,
                                          std::unique_ptr<Holder> second) {
    return std::make_unique<JointHolder>(std::move(first), std::move(second));
}

}  // namespace potluck::weights
