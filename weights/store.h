#pragma once

// A directory of objects by address: what a worker has fetched, kept for the next start.
//
// An object is two files: <address>.data, as large as the object from the beginning and sparse
// until its chunks have come, and <address>.tree: its leaf hashes and, once every chunk was
// verified and is on disk, which state of the .data file that was (inode, size, times). A chunk
// counts only after its bytes hashed to its leaf, and the leaves to the address. Nothing says which
// chunks of an unfinished object are there: whoever opens it hashes what it finds. So a process may
// end at any moment, and whatever changes a .data file later takes away its word.
//
// Several processes and threads may use one directory. Whoever fetches an object holds an exclusive
// lock (flock) on its .data file, whoever uses it a shared one; what is locked is not evicted. Room
// is counted and taken under a lock of the directory. The cap counts whole objects, also those that
// are not yet complete; the least recently opened go first.
//
// Thread: any, one at a time for each Store and its objects; everything blocks. File systems must
// have flock and sparse files.

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/file_descriptor.h"
#include "base/result.h"
#include "model/gguf/mapped_file.h"
#include "weights/holder.h"
#include "weights/tree.h"

namespace potluck::weights {

/// How long to wait for another process that fetches the same object.
inline constexpr std::chrono::minutes kMaxLockWait{30};

struct StoreOptions {
    std::filesystem::path directory;
    std::uint64_t max_bytes = 0;  ///< 0: half of what is free or used by the store now
};

/// An object of a store, locked while this lives: to be completed, or to be read.
class StoredObject {
  public:
    const ObjectRef& ref() const { return ref_; }
    std::uint64_t chunks() const { return chunk_count(ref_.bytes); }
    bool complete() const { return complete_; }
    bool has_leaves() const { return !leaves_.empty(); }
    bool has(std::uint64_t chunk) const { return complete_ || present_[chunk]; }
    std::uint64_t missing_bytes() const { return missing_bytes_; }

    // Of an object that is not complete.
    /// kCorrupt unless they are the leaves of this address.
    Status set_leaves(std::vector<Digest> leaves);
    /// kCorrupt unless these bytes are that chunk; needs the leaves. What is there already is fine.
    /// The last missing chunk makes it complete: on disk, recorded, and the lock a shared one.
    Status write(std::uint64_t chunk, std::span<const std::byte> bytes);

    /// Of a complete one.
    Result<model::gguf::MappedFile> map() const;

  private:
    friend class Store;
    StoredObject(std::filesystem::path stem, ObjectRef ref, FileDescriptor file)
        : stem_(std::move(stem)), ref_(ref), file_(std::move(file)) {}

    std::filesystem::path data_path() const;
    Status check_present();
    Status finish();

    std::filesystem::path stem_;
    ObjectRef ref_;
    FileDescriptor file_;
    std::vector<Digest> leaves_;
    std::vector<bool> present_;
    std::uint64_t missing_bytes_ = 0;
    bool complete_ = false;
};

class Store {
  public:
    /// Makes the directory if need be.
    static Result<Store> open(const StoreOptions& options);

    /// Takes room for all of them, evicting others, and opens them in the order that was asked for;
    /// an address may come only once. Waits while another process fetches one of them, until
    /// `cancelled` says true (kCancelled). kResourceExhausted, with the numbers, if the cap is too
    /// small.
    Result<std::vector<StoredObject>> acquire(std::span<const ObjectRef> objects,
                                              const std::function<bool()>& cancelled);
    std::uint64_t max_bytes() const { return max_bytes_; }
    const std::filesystem::path& directory() const { return directory_; }

  private:
    Store(std::filesystem::path directory, std::uint64_t max_bytes)
        : directory_(std::move(directory)), max_bytes_(max_bytes) {}

    std::filesystem::path stem(const Digest& root) const;
    Status reserve(std::span<const ObjectRef> objects) const;
    Status make_room(std::span<const ObjectRef> objects) const;
    /// Empty: somebody else fetches it, or it was evicted meanwhile.
    Result<std::optional<StoredObject>> try_open(const ObjectRef& ref) const;

    std::filesystem::path directory_;
    std::uint64_t max_bytes_;
};

/// Gives out the complete objects of a store's directory.
std::unique_ptr<Holder> make_store_holder(std::filesystem::path directory);

}  // namespace potluck::weights
