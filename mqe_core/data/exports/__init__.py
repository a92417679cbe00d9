"""From an EpisodeStore back to published formats: raw Bridge trees and LeRobot data sets."""
