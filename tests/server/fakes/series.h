// Values out of a page of metrics in Prometheus' text format.
#pragma once

#include <sstream>
#include <string>

namespace lfm2 {

// The value of the line that begins with `series`, or what is not there.
inline std::string ValueOf(const std::string& text, const std::string& series) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind(series + " ", 0) == 0) return line.substr(series.size() + 1);
  }
  return "no " + series;
}

// Of all series of one name, whatever their labels.
inline double SumOf(const std::string& text, const std::string& name) {
  double sum = 0;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind(name + "{", 0) == 0) sum += std::stod(line.substr(line.rfind(' ') + 1));
  }
  return sum;
}

}  // namespace lfm2
